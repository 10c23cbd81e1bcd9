"""A network of Norse, trained by Norse and exported by Norse, runs on Intel Lava.

    python examples/norse_on_lava.py [epochs]     half a minute

Norse 1.1 writes time constants times dt, the batch axis into the input's shape, and no reset:
`writer="norse"` undoes these habits. The output is a leaky integrator that never spikes, so the hidden spikes
are compared, and its membrane. Nothing of neurofdfa takes part but its digits.
"""

import sys

import norse.torch as norse
import numpy as np
import torch
from torch import nn

import neurofdfa as nf
import neurofdfa_hardware as chip


def run(net: norse.SequentialState, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Spikes of the hidden layer and membranes of the readout, `[T, B, n]`."""
    first, lif, last, readout = net
    hidden_state, out_state, hidden, outputs = None, None, [], []
    for x_t in x:
        spikes, hidden_state = lif(first(x_t), hidden_state)
        voltage, out_state = readout(last(spikes), out_state)
        hidden.append(spikes)
        outputs.append(voltage)
    return torch.stack(hidden), torch.stack(outputs)


def main(epochs: int = 8) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    chip.require()  # says how to get Lava before time goes into training
    data = nf.data.load("digits", steps=16, encoder="poisson", max_rate=1.0)

    # Train in Norse, by backpropagation through time on the readout's last membrane.
    lif = norse.LIFBoxParameters(
        tau_mem_inv=torch.tensor(200.0), v_th=torch.tensor(0.3), alpha=torch.tensor(5.0)
    )
    li = norse.LIBoxParameters(tau_mem_inv=torch.tensor(50.0))
    net = norse.SequentialState(
        nn.Linear(data.n_in, 100), norse.LIFBoxCell(lif), nn.Linear(100, 10), norse.LIBoxCell(li)
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for epoch in range(epochs):
        for x, target in data.train.batches(64, seed=epoch):
            loss = nn.functional.cross_entropy(run(net, x)[1][-1], target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    x, target = next(data.open_test().batches(256))
    with torch.no_grad():
        hidden, outputs = (found.numpy() for found in run(net, x))
    labels, classes = target.numpy(), outputs[-1].argmax(1)
    print(f"Norse: test accuracy {(classes == labels).mean():.2%} of {len(labels)}")

    # Norse's own NIR graph, read with its habits in mind; to 8 bits with scales found on training inputs.
    graph = norse.to_nir(net, torch.zeros(1, data.n_in))
    network = chip.network_from_graph(graph, writer="norse")
    print(chip.mapping_table(network))
    calibration, _ = next(data.train.batches(256))
    program = chip.quantize(network, 8, calibration.numpy().astype(np.uint8)).program

    spikes, layer = x.numpy().astype(np.uint8), network.layers[0].name
    record, reference = chip.LavaBackend().compile(program).run(spikes), chip.simulate(program, spikes)
    found = record.spikes[layer]
    print(f"Norse → Lava: {(hidden == found).mean():.3%} of {found.size} hidden spikes equal")
    same = np.array_equal(reference.spikes[layer], found) and np.array_equal(
        reference.output_v, record.output_v
    )
    print(f"integer reference → Lava: spikes and membranes {'equal' if same else 'DIFFER'}")
    ours = chip.predict(program, record)
    print(
        f"Lava: test accuracy {(ours == labels).mean():.2%}, {(ours == classes).mean():.1%} of classes equal"
    )


if __name__ == "__main__":
    try:
        main(*map(int, sys.argv[1:]))
    except chip.LavaMissing as missing:
        sys.exit(str(missing))
