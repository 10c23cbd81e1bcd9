"""The integers a Loihi neuron and synapse can hold, and the check that a program stays inside them.

Sources: Davies et al., "Loihi: a neuromorphic manycore processor with on-chip learning", IEEE Micro 38(1),
2018; widths of the fixed-point LIF and Dense models of Lava (lava-nc 0.10.0).
"""

import numpy as np

from neurofdfa_hardware.chip.kernel import Kernel, entries
from neurofdfa_hardware.chip.program import (
    ALWAYS_ON,
    INPUT,
    Connection,
    IntArray,
    Population,
    Program,
    connection_lag,
    layer_depths,
)
from neurofdfa_hardware.errors import HardwareError

DECAY_BITS = 12
DECAY_MAX = 4095
THRESHOLD_MAX = 2**17 - 1
THRESHOLD_SHIFT = 6
ACTIVATION_SHIFT = 6
BIAS_MANT_MIN, BIAS_MANT_MAX = -4096, 4095
BIAS_EXP_MAX = 7
CURRENT_LIMIT = 2**23
MEMBRANE_MAX = 2**23 - 1
DELAY_MAX = 62
REFRACTORY_MAX = 63
WEIGHT_EXP_MIN, WEIGHT_EXP_MAX = -8, 7
PAYLOAD_MAX = 255  # of the input
# Sums that one connection delivers: 24 bits, which Lava's Conv wraps at (its Dense only at 32).
SUM_LIMIT = 2**23


def check_program(program: Program) -> None:
    """Raise `HardwareError`, naming the layer and the range, unless every number fits the chip."""
    sizes = {INPUT: program.input_size, ALWAYS_ON: 1}
    for population in program.populations:
        if population.name in sizes:
            raise HardwareError(f"two populations are called {population.name!r}: names must be unique")
        sizes[population.name] = population.size
        _check_population(population)
    if program.output not in sizes or program.output in (INPUT, ALWAYS_ON):
        raise HardwareError(f"the output {program.output!r} is not a population of the program")
    output = next(p for p in program.populations if p.name == program.output)
    if program.decode == "count" and not output.spiking:
        raise HardwareError(
            f"{output.name!r} never spikes, so it cannot be decoded by count: use last or mean"
        )
    if output.graded:
        raise HardwareError(
            f"{output.name!r} sends graded spikes and has no membrane: read out an integrator"
        )
    depths = layer_depths(program)
    for connection in program.connections:
        _check_connection(connection, sizes)
        _check_lag(connection, depths)


def _check_population(population: Population) -> None:
    if population.size < 1:
        raise HardwareError(
            f"population {population.name!r} has {population.size} neurons: it needs at least one"
        )
    _check_graded(population)
    ranges = (
        ("du", population.du, 0, DECAY_MAX),
        ("dv", population.dv, 0, DECAY_MAX),
        ("vth", population.vth, 0, THRESHOLD_MAX),
        ("bias_mant", population.bias_mant, BIAS_MANT_MIN, BIAS_MANT_MAX),
        ("bias_exp", population.bias_exp, 0, BIAS_EXP_MAX),
        ("reset_value", population.reset_value, -MEMBRANE_MAX, MEMBRANE_MAX),
    )
    for field, values, low, high in ranges:
        where = f"{field} of population {population.name!r}"
        if np.shape(values) not in ((), (population.size,)):
            raise HardwareError(f"{where} has shape {np.shape(values)}: expected () or ({population.size},)")
        _check_range(where, values, low, high)
    _check_reset(population)


def _check_reset(population: Population) -> None:
    where = f"population {population.name!r}"
    if not 0 <= population.refractory <= REFRACTORY_MAX:
        raise HardwareError(f"{where} is refractory for {population.refractory} steps: 0 to {REFRACTORY_MAX}")
    if population.reset == "soft" and (population.refractory or np.any(population.reset_value < 0)):
        raise HardwareError(
            f"{where} resets softly: it takes nothing below 0 off and has no refractory steps"
        )
    if not population.plain and (population.graded or not population.spiking):
        raise HardwareError(f"{where} sends no spikes that could reset it: leave out its reset")
    if population.reset == "hard" and np.any(population.reset_value > population.vth << THRESHOLD_SHIFT):
        raise HardwareError(f"{where} resets to a membrane above its threshold")


def _check_graded(population: Population) -> None:
    """Graded neurons have no state, and Lava's one threshold for all of them."""
    unused = (population.du, population.dv, population.bias_mant, population.bias_exp)
    if population.graded and (np.ndim(population.vth) or any(np.any(value) for value in unused)):
        raise HardwareError(
            f"population {population.name!r} sends graded spikes: it takes one threshold, no decays, no bias"
        )
    if population.graded and not population.spiking:
        raise HardwareError(f"population {population.name!r} cannot both send graded spikes and never spike")


def _check_connection(connection: Connection, sizes: dict[str, int]) -> None:
    where = f"connection {connection.name!r}"
    if connection.target in (INPUT, ALWAYS_ON):
        raise HardwareError(f"{where} ends in the source {connection.target!r}, which hears nothing")
    for end in (connection.source, connection.target):
        if end not in sizes:
            raise HardwareError(f"{where} joins {end!r}, which does not exist")
    expected = (sizes[connection.target], sizes[connection.source])
    if connection.weight.shape != expected:
        raise HardwareError(f"{where} has weights {connection.weight.shape}: expected {expected}")
    kind = entries(connection.weight).dtype
    if not np.issubdtype(kind, np.integer):
        raise HardwareError(f"{where} has weights of type {kind}: expected integers")
    if not 1 <= connection.num_weight_bits <= 8:
        raise HardwareError(f"{where} asks for {connection.num_weight_bits} weight bits: the chip has 1 to 8")
    if not WEIGHT_EXP_MIN <= connection.weight_exp <= WEIGHT_EXP_MAX:
        raise HardwareError(
            f"{where} has weight exponent {connection.weight_exp}: "
            f"the chip has {WEIGHT_EXP_MIN} to {WEIGHT_EXP_MAX}"
        )
    if connection.source == ALWAYS_ON and connection.delay is not None:
        raise HardwareError(f"{where} delays what is always on: leave out its delay")
    if connection.delay is not None:
        kernel = isinstance(connection.weight, Kernel)
        known = ((), (1, expected[1]), (expected[0], 1)) if kernel else ((), expected)
        if np.shape(connection.delay) not in known:
            raise HardwareError(f"{where} has delays {np.shape(connection.delay)}: expected () or {expected}")
        _check_range(f"delay of {where}", connection.delay, 0, DELAY_MAX)


def _check_lag(connection: Connection, depths: dict[str, int]) -> None:
    lag = connection_lag(connection, depths)
    delay = 0 if connection.delay is None else int(np.min(connection.delay))
    if lag + delay < 0:
        raise HardwareError(
            f"connection {connection.name!r} skips {-lag} layer(s) and would arrive before its time: "
            f"give it a delay of at least {-lag}"
        )


def _check_range(where: str, values: IntArray, low: int, high: int) -> None:
    smallest, largest = int(np.min(values)), int(np.max(values))
    if smallest < low or largest > high:
        found = smallest if smallest < low else largest
        raise HardwareError(f"{where} is {found}: the chip holds {low} to {high}")
