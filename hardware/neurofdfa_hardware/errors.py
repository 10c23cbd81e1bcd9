"""The one error type a user of `hardware` has to know, and its refinements."""


class HardwareError(Exception):
    """Something cannot be mapped, quantised or run; the message says what and what to do."""
