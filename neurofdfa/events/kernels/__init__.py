"""What numba compiles: a training sequence as a few loops over spikes. `sequence.run_range` is the entry."""
