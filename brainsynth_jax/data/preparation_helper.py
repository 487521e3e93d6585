"""A process that helps its parent to prepare slices: python -m ..., told what by standard input."""

import contextlib
import pickle
import sys

from brainsynth_jax.data.preparation import prepare_parts
from brainsynth_jax.errors import UserError

if __name__ == "__main__":
    with contextlib.suppress(UserError):  # the parent meets it, too, and says it
        prepare_parts(*pickle.load(sys.stdin.buffer))
