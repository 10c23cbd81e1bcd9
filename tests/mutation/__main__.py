"""`python -m tests.mutation [--sample N] [--seed S] [FILE …]`: 0 where 90 % of the mutants are noticed."""

from __future__ import annotations

import argparse
import sys

# Everything heavy that is not the project's own, so that a forked test starts at once.
import h5py  # noqa: F401
import hypothesis  # noqa: F401
import nir  # noqa: F401
import numba  # noqa: F401
import scipy.signal  # noqa: F401
import sklearn.datasets  # noqa: F401
import torch

from tests.mutation.run import TARGETS, run

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("file", nargs="*", default=list(TARGETS), help="; ".join(TARGETS))
    parser.add_argument("--sample", type=int, help="mutants per file, drawn by the seed; default all")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    sys.exit(not run(chosen.file, chosen.sample, chosen.seed))
