"""`python -m neurofdfa_hardware`."""

from neurofdfa_hardware.cli import main

main()
