"""A process that helps its parent to prepare slices: python -m ..., told what by standard input."""

import pickle
import sys

from brainsynth_jax.data.preparation import prepare_parts

if __name__ == "__main__":
    prepare_parts(*pickle.load(sys.stdin.buffer))
