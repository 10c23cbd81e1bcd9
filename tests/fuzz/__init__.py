"""Damaged files for every reader: `python -m tests.fuzz --count 100000`, and a fast profile in the tests."""
