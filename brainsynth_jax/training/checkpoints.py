"""Checkpoints: everything that a run is, written whole or not at all. The home of Orbax."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from brainsynth_jax.errors import UserError
from brainsynth_jax.training import processes
from brainsynth_jax.training.parallel import describe_spread, gather_state, spread_state

_log = logging.getLogger(__name__)

_SCORES = "[0-9]*/metrics/metrics"  # in a checkpoint's folder


class Checkpoints:
    """The checkpoints of one run, one folder a step.

    They are written in the background and appear under their name only when complete. The newest
    few stay, and the one of the highest score. Processes that train together write and restore
    them together: all call each method.

    Args:
        folder: made if it does not exist; of several processes, in a folder that all of them see.
        keep: how many of the newest stay.
        read_only: never write or delete, for looking at a run.
        devices: on which the states lie; of no importance to a single process.
    """

    def __init__(
        self,
        folder: Path,
        keep: int = 3,
        read_only: bool = False,
        devices: Sequence[jax.Device] = (),
    ) -> None:
        self.folder = folder.absolute()
        self._read_only = read_only
        self._devices = devices
        self._set_aside_without_score()
        policy = checkpoint_managers.AnyPreservationPolicy(
            [
                checkpoint_managers.LatestN(keep),
                checkpoint_managers.BestN(
                    get_metric_fn=lambda metrics: metrics["score"],
                    n=1,
                    keep_checkpoints_without_metrics=False,
                ),
            ]
        )
        self._manager = ocp.CheckpointManager(
            self.folder,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policy,
                best_fn=lambda metrics: metrics["score"],
                cleanup_tmp_directories=not read_only,
                read_only=read_only,
                create=not read_only,
            ),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exception_type: type | None, *rest: object) -> None:
        try:
            self._guard(self._manager.close)
        except UserError:
            if exception_type is None:  # else it would hide what ended the run
                raise

    @property
    def steps(self) -> list[int]:
        """Steps that have a checkpoint, oldest first."""
        return sorted(self._manager.all_steps())

    @property
    def best_step(self) -> int | None:
        """The step of the highest score, None where none has a score."""
        return self._manager.best_step()

    def save(self, step: int, state: Any, score: float | None = None) -> None:
        """Starts writing the state after `step` steps; returns before it is done.

        Raises:
            UserError: this or the previous writing failed, for instance on a full disk.
        """
        metrics = None if score is None else {"score": float(score)}
        whole = spread_state(state, self._devices)
        self._guard(
            lambda: self._manager.save(
                step, args=ocp.args.StandardSave(whole), metrics=metrics, force=True
            )
        )

    def wait(self) -> None:
        """Returns when all is written.

        Raises:
            UserError: the writing failed, for instance on a full disk.
        """
        self._guard(self._manager.wait_until_finished)

    def restore(self, step: int, like: Any) -> Any:
        """The state saved at `step`, placed as `like` is.

        Raises:
            UserError: there is no such checkpoint, it is damaged, or it is of other networks.
        """
        if step not in self.steps:
            raise UserError(
                f"{self.folder} holds no checkpoint of step {step}; there are {self.steps}."
            )
        try:
            return self._restore(step, like)
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"The checkpoint {self.folder / str(step)} is damaged "
                f"({_first_line(error)}). Delete that folder, or choose another of {self.steps}."
            ) from error

    def restore_newest(self, like: Any) -> tuple[int, Any] | None:
        """The newest checkpoint that can be read, as (step, state); None in a new run.

        Damaged ones are passed over with a warning and, unless read only, moved aside, so that
        their steps can be saved again.

        Raises:
            UserError: there are checkpoints, and none can be read, or they are of other networks;
                they are left as they are.
        """
        steps, damaged = self.steps, []
        for step in reversed(steps):
            try:
                state = self._restore(step, like)
            except (MemoryError, UserError):
                raise
            except Exception as error:  # whatever a damaged file makes a reader raise
                if "RESOURCE_EXHAUSTED" in str(error):
                    raise
                damaged.append((step, error))
            else:
                for bad_step, error in damaged:
                    self._pass_over(bad_step, step, error)
                return step, state
        if steps:
            raise UserError(
                f"None of the checkpoints in {self.folder} (steps {steps}) can be read: "
                f"{_first_line(damaged[0][1])}. Restore the folder, or start afresh with another "
                "--workdir."
            )
        return None

    def _set_aside_without_score(self) -> None:
        """Moves checkpoints aside whose score cannot be read: the manager would stop at them."""
        damaged = [path.parents[1] for path in self.folder.glob(_SCORES) if not _is_json(path)]
        if damaged and self._read_only:
            raise UserError(
                f"The checkpoint {damaged[0]} is damaged (its score cannot be read). Delete that "
                "folder, or go on with its run, which moves it aside."
            )
        if processes.is_first():
            for folder in damaged:
                aside = _move_aside(folder)
                _log.warning("The checkpoint %s is damaged, was moved to %s.", folder, aside)
        processes.meet()

    def _pass_over(self, step: int, good_step: int, error: Exception) -> None:
        moved = ""
        if not self._read_only:
            if processes.is_first():
                moved = f", was moved to {_move_aside(self.folder / str(step))}"
            processes.meet()
            self._manager.reload()
        _log.warning(
            "The checkpoint of step %d is damaged (%s)%s; falling back to step %d.",
            step,
            _first_line(error),
            moved,
            good_step,
        )

    def _restore(self, step: int, like: Any) -> Any:
        target = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        target = describe_spread(target, self._devices)
        if misfit := _find_misfit(self.folder / str(step), target):
            raise UserError(
                f"The checkpoint {self.folder / str(step)} does not fit the run's options: "
                f"{misfit}. Give back to {self.folder.parent / 'options.json'} the options with "
                "which the run was trained."
            )
        whole = self._manager.restore(step, args=ocp.args.StandardRestore(target))
        return gather_state(whole, self._devices)

    def _guard(self, write: Any) -> None:
        try:
            write()
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(
                f"The checkpoint could not be written to {self.folder}: {_first_line(error)}. "
                "Make room there or give it the right to be written to, then start again with the "
                "same --workdir: the run goes on from the newest complete checkpoint of "
                f"{self.steps}."
            ) from error


def _find_misfit(folder: Path, target: Any) -> str | None:
    """The first array that a checkpoint holds in another shape than wanted, or only one has."""
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            stored = _shapes(checkpointer.metadata(folder / "default").item_metadata.tree)
    except Exception:  # it is damaged, which `restore` will tell
        return None
    wanted = _shapes(target)
    for name in sorted(stored.keys() | wanted.keys()):
        if stored.get(name) != wanted.get(name):
            return (
                f"{name} is {stored.get(name, 'missing')} in the one and "
                f"{wanted.get(name, 'missing')} by the other"
            )
    return None


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda x: hasattr(x, "shape"))
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): tuple(leaf.shape)
        for path, leaf in leaves
    }


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text())
    except (ValueError, RecursionError):
        return False
    return True


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def _move_aside(folder: Path) -> Path:
    number = 1
    while (aside := folder.with_name(f"damaged-{folder.name}-{number}")).exists():
        number += 1
    return folder.rename(aside)
