"""A run's numbers as files: metrics.jsonl and TensorBoard events. No server is needed."""

import json
from pathlib import Path
from typing import Self

from tensorboardX import SummaryWriter

from brainsynth_jax.files import write_atomically

METRICS_FILE = "metrics.jsonl"


def read_metrics(workdir: Path) -> list[dict[str, float]]:
    """The objects of metrics.jsonl, oldest first; a last line that was cut off is left out."""
    path = workdir / METRICS_FILE
    records = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return records


def count_rollbacks(workdir: Path, step: int) -> int:
    """How often a run that goes on from `step` had gone back because of NaN."""
    return sum("rollback" in record for record in read_metrics(workdir) if record["step"] <= step)


class Logs:
    """Appends records to a run folder's metrics.jsonl and to its TensorBoard events.

    Args:
        workdir: the run folder.
        step: of the checkpoint the run goes on from; what was logged after it is dropped, for it
            will be logged again.
    """

    def __init__(self, workdir: Path, step: int = 0) -> None:
        kept = [record for record in read_metrics(workdir) if record["step"] <= step]
        path = workdir / METRICS_FILE
        write_atomically(path, "".join(json.dumps(record) + "\n" for record in kept).encode())
        self._file = path.open("a")
        self._events = SummaryWriter(str(workdir / "tensorboard"), purge_step=step + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception) -> None:
        self._file.close()
        self._events.close()

    def write(self, step: int, epoch: int, values: dict[str, float]) -> None:
        """Appends one record.

        Args:
            step: optimiser updates done.
            epoch: the epoch that step belongs to, from 1.
            values: named numbers.
        """
        json.dump({"step": step, "epoch": epoch} | values, self._file)
        self._file.write("\n")
        self._file.flush()
        for name, value in values.items():
            self._events.add_scalar(name, value, step)


class NoLogs:
    """`Logs` of a process that is not the one that writes."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception) -> None:
        pass

    def write(self, step: int, epoch: int, values: dict[str, float]) -> None:
        """Writes nothing."""
