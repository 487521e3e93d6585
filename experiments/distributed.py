"""One run in several processes: which of them this is, and what they have to agree on.

A process is told which one it is by flags, or by the launcher that started it. It then joins the
others; from there on all of them execute the same script, and what has to be done once, the first
one does.
"""

import contextlib
import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from brainsynth_jax.data.pipeline import Part
from brainsynth_jax.errors import UserError
from brainsynth_jax.training import processes
from brainsynth_jax.training.processes import Place
from brainsynth_jax.training.run_folder import (
    OPTIONS_FILE,
    claim_run_folder,
    held_run_folder,
    save_options,
)

# Of one start of a run, and of one process: no run's options keep them.
LAUNCH_FLAGS = ("distributed", "process_count", "process_index")

# Ports that no service is assigned to; a job's number picks one, so that two jobs do not meet.
_PORTS = range(61440, 65536)


class _Launcher(NamedTuple):
    """What a launcher tells the processes that it starts, in environment variables."""

    name: str
    mark: str  # is set in the processes that it starts, and only there
    count: tuple[str, ...]  # the first that is set counts
    index: str
    find_address: Callable[[Mapping[str, str]], str | None]


def join_processes(options: SimpleNamespace) -> None:
    """Meets the other processes of the run, where there are some; before a device is touched.

    Processes other than the first print nothing from here on but errors.

    Raises:
        UserError: it is not clear which process this is, or the others cannot be met.
    """
    place = find_place(
        options.distributed, options.process_count, options.process_index, os.environ
    )
    if place is None:
        return
    print(f"Process {place.index} of {place.count}; process 0 answers at {place.address}.")
    hosts = processes.join(place)
    print("Processes: " + ", ".join(f"{index} on {host}" for index, host in enumerate(hosts)))
    if not processes.is_first():
        print("Messages are process 0's.", flush=True)
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - until the end


def find_place(
    distributed: str, count: int, index: int, environment: Mapping[str, str]
) -> Place | None:
    """Which of a run's processes this is; None for the only one.

    Args:
        distributed: the flag: auto, off or HOST:PORT.
        count: the flag, 0 for the launcher's.
        index: the flag, -1 for the launcher's.
        environment: variables of this process.

    Raises:
        UserError: something is not told, or does not go together.
    """
    if distributed == "off":
        return None
    launcher = next((each for each in _LAUNCHERS if each.mark in environment), None)
    if launcher is not None:
        told = next((environment[name] for name in launcher.count if name in environment), "0")
        count = count or int(told)
        index = int(environment[launcher.index]) if index < 0 else index
    if distributed == "auto":
        if count <= 1:
            return None
        address = launcher.find_address(environment) if launcher else None
        if address is None:
            who = f"{launcher.name} does not tell" if launcher else "no launcher tells"
            raise UserError(
                f"There are {count} processes, and {who} where process 0 answers. Give all of them "
                "--distributed=HOST:PORT of its machine, such as node01:8476."
            )
    else:
        address = distributed
    if not count or index < 0:
        missing = [
            *([] if count else ["--process_count"]),
            *(["--process_index"] if index < 0 else []),
        ]
        raise UserError(
            f"--distributed={distributed}: {' and '.join(missing)} needed, for no launcher tells."
        )
    if index >= count:
        raise UserError(
            f"--process_index={index}: of {count} processes, 0 to {count - 1} are allowed."
        )
    return Place(address, count, index) if count > 1 else None


def describe_devices(devices: Sequence) -> str:
    """How many of what share each batch: "8 x NVIDIA H100 in 2 processes"."""
    parted = f" in {processes.count()} processes" if processes.count() > 1 else ""
    return f"{len(devices)} x {devices[0].device_kind}{parted}"


def own_part() -> Part:
    """Of each batch, what this process reads."""
    return Part(processes.index(), processes.count())


def check_alike(options: SimpleNamespace, free: set[str], fingerprint: str) -> None:
    """Sees that all processes have the same options and data.

    Args:
        options: one attribute for each flag.
        free: flags that may differ.
        fingerprint: of the prepared slices.

    Raises:
        UserError: names the processes that differ from number 0.
    """
    given = {name: value for name, value in vars(options).items() if name not in free}
    if others := processes.differing(_digest(given)):
        raise UserError(
            f"Process {_list(others)} began with other options than process 0. Give all of them "
            "the same command line."
        )
    if others := processes.differing(fingerprint):
        raise UserError(
            f"--data_dir={options.data_dir}: process {_list(others)} sees other slices than "
            "process 0. Give all of them the same scans."
        )


def choose_run_folder(workdir: Path | None, script: str) -> Path:
    """The folder that was asked for, or one that the first process claims for all."""
    if workdir is None and processes.is_first():
        workdir = claim_run_folder(Path("runs"), script)
    return Path(processes.tell_text(str(workdir)))


@contextlib.contextmanager
def held_together(workdir: Path) -> Iterator[None]:
    """The run's folder held by the first process for all, see `held_run_folder`."""
    with held_run_folder(workdir) if processes.is_first() else contextlib.nullcontext():
        yield


def save_options_once(
    workdir: Path, script: str, options: SimpleNamespace, data: Mapping, devices: Sequence
) -> None:
    """`save_options` by the first process; the others see whether it is there.

    Raises:
        UserError: another process finds another folder at that path.
    """
    if processes.is_first():
        kept = {name: value for name, value in vars(options).items() if name not in LAUNCH_FLAGS}
        save_options(workdir, script, kept, data, devices)
    processes.meet()
    path = workdir / OPTIONS_FILE
    if others := processes.differing(_digest(path.read_text() if path.exists() else None)):
        raise UserError(
            f"--workdir={workdir} is another folder for process {_list(others)} than for process "
            "0. Give a folder on a disk that all machines share."
        )


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _list(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))


def _slurm_address(environment: Mapping[str, str]) -> str | None:
    """The first node of the step, and a port by the job's and the step's number."""
    nodes = environment.get("SLURM_STEP_NODELIST")
    if not nodes:
        return None
    job = int(environment.get("SLURM_JOB_ID", 0)) + 64 * int(environment.get("SLURM_STEP_ID", 0))
    return f"{first_node(nodes)}:{_PORTS[job % len(_PORTS)]}"


def first_node(nodes: str) -> str:
    """The first name of a Slurm node list: "gpu[007-009,12],login" -> "gpu007"."""
    return re.sub(r"\[(\d+)[^\]]*\]", r"\1", re.match(r"(?:[^,\[]|\[[^\]]*\])*", nodes).group())


def _one_machine_address(local_count: str, count: str, job: str) -> Callable:
    """Of launchers that name no machine: where all processes are on one, that one."""

    def find(environment: Mapping[str, str]) -> str | None:
        if environment.get(local_count) != environment.get(count):
            return None
        digest = hashlib.sha256(environment.get(job, "").encode()).digest()
        return f"127.0.0.1:{_PORTS[int.from_bytes(digest[:4], 'big') % len(_PORTS)]}"

    return find


# mpirun within a Slurm job is started by srun, so Open MPI is asked first. A batch script outside
# srun has Slurm's other variables too.
_LAUNCHERS = (
    _Launcher(
        "Open MPI",
        mark="OMPI_COMM_WORLD_RANK",
        count=("OMPI_COMM_WORLD_SIZE",),
        index="OMPI_COMM_WORLD_RANK",
        find_address=_one_machine_address(
            "OMPI_COMM_WORLD_LOCAL_SIZE", "OMPI_COMM_WORLD_SIZE", "PMIX_NAMESPACE"
        ),
    ),
    _Launcher(
        "Slurm",
        mark="SLURM_STEP_NODELIST",
        count=("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"),
        index="SLURM_PROCID",
        find_address=_slurm_address,
    ),
    _Launcher(
        "MPICH",
        mark="PMI_RANK",
        count=("PMI_SIZE",),
        index="PMI_RANK",
        find_address=_one_machine_address("MPI_LOCALNRANKS", "PMI_SIZE", "PMI_ID"),
    ),
    _Launcher(
        "Kubernetes",
        mark="JOB_COMPLETION_INDEX",
        count=(),
        index="JOB_COMPLETION_INDEX",
        find_address=lambda environment: None,
    ),
)
