"""The trainer, its loops, and what is wrapped around a rule: regulariser and device."""
