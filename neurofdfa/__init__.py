"""Spiking networks that learn online with Forward Direct Feedback Alignment and other local rules.

    import neurofdfa as nf

Names and rooms are imported when they are first used, so that a command's `--help` needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from neurofdfa.errors import Diverged as Diverged
    from neurofdfa.errors import UserError as UserError
    from neurofdfa.interop.nir import export_nir as export_nir
    from neurofdfa.interop.nir import to_nir as to_nir
    from neurofdfa.interop.norse import from_norse as from_norse
    from neurofdfa.interop.norse import to_norse as to_norse
    from neurofdfa.interop.snntorch import from_snntorch as from_snntorch
    from neurofdfa.interop.snntorch import to_snntorch as to_snntorch
    from neurofdfa.interop.torch_graph import nir_from_torch as nir_from_torch
    from neurofdfa.measure.alignment import alignment as alignment
    from neurofdfa.measure.energy.ledger import ledger as ledger
    from neurofdfa.measure.locality.audit import certify as certify
    from neurofdfa.measure.memory import peak_mib as peak_mib
    from neurofdfa.nn.alif import ALIF as ALIF
    from neurofdfa.nn.conv2d import Conv2d as Conv2d
    from neurofdfa.nn.cuba_lif import CubaLIF as CubaLIF
    from neurofdfa.nn.delay import Delay as Delay
    from neurofdfa.nn.dropout import Dropout as Dropout
    from neurofdfa.nn.integrate_and_fire import IF as IF
    from neurofdfa.nn.integrator import I as I
    from neurofdfa.nn.leaky_integrator import LI as LI
    from neurofdfa.nn.lif import LIF as LIF
    from neurofdfa.nn.linear import Linear as Linear
    from neurofdfa.nn.loss import CrossEntropy as CrossEntropy
    from neurofdfa.nn.loss import MeanSquaredError as MeanSquaredError
    from neurofdfa.nn.loss import SpikeCountError as SpikeCountError
    from neurofdfa.nn.network import Network as Network
    from neurofdfa.nn.network import NetworkStep as NetworkStep
    from neurofdfa.nn.network import feed_forward as feed_forward
    from neurofdfa.nn.network import scale_to_rate as scale_to_rate
    from neurofdfa.nn.neuron import Neuron as Neuron
    from neurofdfa.nn.pooling import AvgPool2d as AvgPool2d
    from neurofdfa.nn.pooling import Flatten as Flatten
    from neurofdfa.nn.pooling import SumPool2d as SumPool2d
    from neurofdfa.nn.surrogate import ArcTan as ArcTan
    from neurofdfa.nn.surrogate import FastSigmoid as FastSigmoid
    from neurofdfa.nn.surrogate import Sigmoid as Sigmoid
    from neurofdfa.nn.surrogate import Surrogate as Surrogate
    from neurofdfa.nn.surrogate import Triangular as Triangular
    from neurofdfa.rules.activity_forward_gradient import ActivityForwardGradient as ActivityForwardGradient
    from neurofdfa.rules.base import Broadcast as Broadcast
    from neurofdfa.rules.base import Rule as Rule
    from neurofdfa.rules.base import Signals as Signals
    from neurofdfa.rules.bptt import BPTT as BPTT
    from neurofdfa.rules.dfa import DFA as DFA
    from neurofdfa.rules.dkp import DKP as DKP
    from neurofdfa.rules.drtp import DRTP as DRTP
    from neurofdfa.rules.e_prop import EProp as EProp
    from neurofdfa.rules.fa import FA as FA
    from neurofdfa.rules.fdfa import FDFA as FDFA
    from neurofdfa.rules.forward_forward import ForwardForward as ForwardForward
    from neurofdfa.rules.guided_forward_gradient import GuidedForwardGradient as GuidedForwardGradient
    from neurofdfa.rules.local_loss import LocalLoss as LocalLoss
    from neurofdfa.rules.mono_forward import MonoForward as MonoForward
    from neurofdfa.rules.opzo import OPZO as OPZO
    from neurofdfa.rules.ottt import OTTT as OTTT
    from neurofdfa.rules.readout_only import ReadoutOnly as ReadoutOnly
    from neurofdfa.rules.s_tllr import STLLR as STLLR
    from neurofdfa.rules.s_tllr import SpikeTiming as SpikeTiming
    from neurofdfa.rules.sbd import SBD as SBD
    from neurofdfa.rules.sltt import SLTT as SLTT
    from neurofdfa.rules.sltt import Instant as Instant
    from neurofdfa.rules.traces import PerNeuron as PerNeuron
    from neurofdfa.rules.traces import PerSynapse as PerSynapse
    from neurofdfa.rules.weight_forward_gradient import WeightForwardGradient as WeightForwardGradient
    from neurofdfa.rules.weight_mirror import WeightMirror as WeightMirror
    from neurofdfa.run import Run as Run
    from neurofdfa.run import fit as fit
    from neurofdfa.run import load as load
    from neurofdfa.train.device import Device as Device
    from neurofdfa.train.fit import CSVLog as CSVLog
    from neurofdfa.train.fit import TensorBoardLog as TensorBoardLog
    from neurofdfa.train.rate_regulariser import RateRegulariser as RateRegulariser
    from neurofdfa.train.trainer import Trainer as Trainer

_HOMES = {
    "errors": ("Diverged", "UserError"),
    "interop.nir": ("export_nir", "to_nir"),
    "run": ("Run", "fit", "load"),
    "interop.norse": ("from_norse", "to_norse"),
    "interop.snntorch": ("from_snntorch", "to_snntorch"),
    "interop.torch_graph": ("nir_from_torch",),
    "measure.alignment": ("alignment",),
    "measure.energy.ledger": ("ledger",),
    "measure.locality.audit": ("certify",),
    "measure.memory": ("peak_mib",),
    "nn.alif": ("ALIF",),
    "nn.conv2d": ("Conv2d",),
    "nn.cuba_lif": ("CubaLIF",),
    "nn.delay": ("Delay",),
    "nn.dropout": ("Dropout",),
    "nn.integrate_and_fire": ("IF",),
    "nn.integrator": ("I",),
    "nn.leaky_integrator": ("LI",),
    "nn.lif": ("LIF",),
    "nn.linear": ("Linear",),
    "nn.network": ("Network", "NetworkStep", "feed_forward", "scale_to_rate"),
    "nn.neuron": ("Neuron",),
    "nn.pooling": ("AvgPool2d", "Flatten", "SumPool2d"),
    "nn.surrogate": ("ArcTan", "FastSigmoid", "Sigmoid", "Surrogate", "Triangular"),
    "nn.loss": (
        "CrossEntropy",
        "MeanSquaredError",
        "SpikeCountError",
    ),
    "rules.activity_forward_gradient": ("ActivityForwardGradient",),
    "rules.base": ("Broadcast", "Rule", "Signals"),
    "rules.bptt": ("BPTT",),
    "rules.dfa": ("DFA",),
    "rules.dkp": ("DKP",),
    "rules.drtp": ("DRTP",),
    "rules.e_prop": ("EProp",),
    "rules.fa": ("FA",),
    "rules.fdfa": ("FDFA",),
    "rules.forward_forward": ("ForwardForward",),
    "rules.guided_forward_gradient": ("GuidedForwardGradient",),
    "rules.local_loss": ("LocalLoss",),
    "rules.mono_forward": ("MonoForward",),
    "rules.opzo": ("OPZO",),
    "rules.ottt": ("OTTT",),
    "rules.readout_only": ("ReadoutOnly",),
    "rules.s_tllr": (
        "STLLR",
        "SpikeTiming",
    ),
    "rules.sbd": ("SBD",),
    "rules.sltt": (
        "SLTT",
        "Instant",
    ),
    "rules.traces": (
        "PerNeuron",
        "PerSynapse",
    ),
    "rules.weight_forward_gradient": ("WeightForwardGradient",),
    "rules.weight_mirror": ("WeightMirror",),
    "train.device": ("Device",),
    "train.fit": (
        "CSVLog",
        "TensorBoardLog",
    ),
    "train.rate_regulariser": ("RateRegulariser",),
    "train.trainer": ("Trainer",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}
_ROOMS = ("data", "plot", "sklearn")


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'neurofdfa' has no attribute '{name}'")
    found = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, *_ROOMS})
