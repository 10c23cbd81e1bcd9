"""Small wrong changes to the core, which the tests have to notice: `python -m tests.mutation`."""
