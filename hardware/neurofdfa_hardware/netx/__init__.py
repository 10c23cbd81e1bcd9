"""lava-dl's network files: read and written."""

from neurofdfa_hardware.netx.file import load, save

__all__ = ["load", "save"]
