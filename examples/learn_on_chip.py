"""A network trained with FDFA moves onto (simulated) Loihi, the camera is turned, and it learns on the chip.

python examples/learn_on_chip.py [--lava] [seed ...]

Trained here, online, in PyTorch; then quantised to 8 bits. From there on the network runs in the chip's
integers, which --lava has Intel Lava compute: the same numbers, in a minute or two more. An embedded
processor reads the output's membranes and computes the error, feedback synapses carry it to the hidden layer,
three-factor rules change the weights, and every 50 samples the host refreshes the feedback by FDFA's probes.
Beside it stands the frozen network. Settings were chosen on validation data.
"""

import sys
import tempfile
from dataclasses import replace

import numpy as np
import torch

import neurofdfa as nf
import neurofdfa_hardware as chip

STEPS = 16
FAST = chip.LearningRule(
    period=24, epoch=6, reach=8, shift_hidden=14, rate_hidden=-5, rate_output=-6, refresh_every=50
)
FINE = replace(FAST, rate_hidden=-7, rate_output=-7)


def main(
    seed: int, epochs: int = 12, samples: int = 300, backend: str = "fixed-point"
) -> tuple[float, float]:
    torch.set_num_threads(1)
    data = nf.data.load("digits", steps=STEPS, encoder="poisson", max_rate=0.5)
    network, feedback = train(data, seed, epochs)
    calibration = spikes_of(data.train.select(slice(0, 256)))
    program = chip.quantize(graph_of(network), 8, calibration).program

    # The feedback that FDFA learnt goes along; training inputs say what is common to all samples.
    feedback = chip.feedback_of(program, [feedback])
    rest = chip.mean_traces(program, calibration, FAST)

    test = data.open_test()
    before, turned_test = spikes_of(test), spikes_of(test, turned=True)
    labels = test.targets.numpy()
    print(f"seed {seed}: test accuracy {accuracy(program, before, labels):.1%} on the chip")
    frozen = accuracy(program, turned_test, labels)
    print(f"  camera turned by 90°: {frozen:.1%}, and so it stays for the frozen network")

    shift = chip.score_shift(program, calibration)
    stream = spikes_of(data.train, turned=True)
    targets = data.train.targets.numpy()
    learnt = program
    for part, rule in enumerate((FAST, FINE)):
        now = slice(part * samples, (part + 1) * samples)
        rule = replace(rule, score_shift=shift, seed=seed + 1)
        step = chip.learn(learnt, stream[:, now], targets[now], feedback, rule, rest=rest, backend=backend)
        learnt, feedback = step.program, step.feedback
        online = float((step.scores.argmax(1) == targets[now])[-100:].mean())
        now_right = accuracy(learnt, turned_test, labels)
        print(f"  after {now.stop} samples on chip: {now_right:.1%} (last 100 while learning: {online:.0%})")
    print(f"  gained {now_right - frozen:+.1%}; upright again: {accuracy(learnt, before, labels):.1%}")
    return frozen, now_right


def train(data: nf.data.Dataset, seed: int, epochs: int) -> tuple[nf.Network, np.ndarray]:
    """A 64-64-10 network with the chip's neurons, and the feedback [64, 10] that FDFA found."""
    network = nf.Network(
        nf.Linear(data.n_in, 64), nf.LIF(), nf.Linear(64, data.n_out), nf.LI(),
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
    first, _ = next(data.train.batches(128, seed=seed))
    nf.scale_to_rate(network, first, 0.15)
    trainer = nf.Trainer(
        network,
        nf.FDFA(),
        torch.optim.Adam(network.parameters(), lr=3e-3),
        rate_regulariser=nf.RateRegulariser(0.12),
        generator=torch.Generator().manual_seed(seed),
    )
    trainer.fit(data.train, epochs=epochs, batch=32, progress=False)
    return network, trainer.rule_state.matrices[-1].double().numpy().copy()


def graph_of(network: nf.Network) -> chip.Network:
    """The network as the chip's package reads it: through a NIR file."""
    with tempfile.TemporaryDirectory() as folder:
        nf.export_nir(network, f"{folder}/net.nir")
        return chip.load(f"{folder}/net.nir")


def spikes_of(split: nf.data.Split, turned: bool = False) -> np.ndarray:
    """Input spikes uint8 [T, N, 64]; turned: of the images rotated by 90°."""
    if turned:
        images = torch.rot90(split.inputs.reshape(-1, 8, 8), dims=(1, 2))
        split = replace(split, inputs=images.reshape(-1, 64).contiguous())
    x, _ = next(split.batches(len(split)))
    return x.numpy().astype(np.uint8)


def accuracy(program: chip.Program, spikes: np.ndarray, labels: np.ndarray) -> float:
    """Share of right predictions, by the integer reference, which Lava equals spike for spike."""
    return float((chip.predict(program, chip.simulate(program, spikes)) == labels).mean())


if __name__ == "__main__":
    try:
        seeds = [int(seed) for seed in sys.argv[1:] if seed != "--lava"] or [0]
        backend = "lava" if "--lava" in sys.argv[1:] else "fixed-point"
        results = [main(seed, backend=backend) for seed in seeds]
    except chip.LavaMissing as missing:
        sys.exit(str(missing))
    gains = [after - before for before, after in results]
    print(f"gain over frozen: {np.mean(gains):+.1%} (min {min(gains):+.1%}) over {len(gains)} seed(s)")
