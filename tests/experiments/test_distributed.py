"""Which process of a run this is, by flags and by what launchers tell."""

import sys

import pytest
from run_checks import EXPERIMENTS

sys.path.insert(0, str(EXPERIMENTS))

from distributed import find_place, first_node

from brainsynth_jax.errors import UserError
from brainsynth_jax.training.processes import Place

SLURM = {
    "SLURM_JOB_ID": "4711",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NODELIST": "gpu[007-009,12]",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_NTASKS": "8",
    "SLURM_PROCID": "2",
}
OPEN_MPI = {
    "OMPI_COMM_WORLD_SIZE": "2",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
    "OMPI_COMM_WORLD_RANK": "1",
    "PMIX_NAMESPACE": "1234",
}


def test_without_a_launcher_there_is_one_process():
    assert find_place("auto", 0, -1, {}) is None
    assert find_place("off", 0, -1, SLURM) is None


def test_flags_say_it_all():
    assert find_place("node1:8476", 3, 2, {}) == Place("node1:8476", 3, 2)


def test_slurm_tells_everything():
    place = find_place("auto", 0, -1, SLURM)
    host, port = place.address.split(":")
    assert (host, place.count, place.index) == ("gpu007", 4, 2)
    assert 61440 <= int(port) < 65536
    other_job = find_place("auto", 0, -1, SLURM | {"SLURM_JOB_ID": "4712"})
    assert other_job.address != place.address, "two jobs on one node do not meet"


def test_a_batch_script_outside_srun_is_one_process():
    """sbatch sets SLURM_NTASKS and SLURM_PROCID for the script itself, too."""
    outside = {name: SLURM[name] for name in ("SLURM_JOB_ID", "SLURM_NTASKS", "SLURM_PROCID")}
    assert find_place("auto", 0, -1, outside) is None


def test_one_task_is_one_process():
    assert find_place("auto", 0, -1, SLURM | {"SLURM_STEP_NUM_TASKS": "1"}) is None


def test_mpirun_on_one_machine_tells_everything():
    first, second = (
        find_place("auto", 0, -1, OPEN_MPI | {"OMPI_COMM_WORLD_RANK": rank}) for rank in "01"
    )
    assert first.address == second.address
    assert first.address.startswith("127.0.0.1:")
    assert (second.count, second.index) == (2, 1)


def test_mpirun_is_asked_before_the_slurm_job_in_which_it_runs():
    assert find_place("auto", 0, -1, SLURM | OPEN_MPI).count == 2


def test_mpirun_on_several_machines_needs_an_address():
    spread = OPEN_MPI | {"OMPI_COMM_WORLD_LOCAL_SIZE": "1"}
    with pytest.raises(UserError, match=r"2 processes, and Open MPI does not .*--distributed=HOST"):
        find_place("auto", 0, -1, spread)
    assert find_place("node1:8476", 0, -1, spread) == Place("node1:8476", 2, 1)


def test_a_kubernetes_job_tells_the_index():
    pod = {"JOB_COMPLETION_INDEX": "3"}
    assert find_place("train-0.train:8476", 4, -1, pod) == Place("train-0.train:8476", 4, 3)
    assert find_place("auto", 0, -1, {"JOB_COMPLETION_INDEX": "0"}) is None
    with pytest.raises(UserError, match="--process_count needed"):
        find_place("train-0.train:8476", 0, -1, pod)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("node1:8476", 0, -1), "--process_count and --process_index needed, for no launcher"),
        (("node1:8476", 2, -1), "--process_index needed"),
        (("node1:8476", 2, 2), "--process_index=2: of 2 processes, 0 to 1 are allowed"),
        (("auto", 2, 0), "2 processes, and no launcher tells where process 0 answers"),
    ],
)
def test_what_is_missing_is_named(flags, words):
    with pytest.raises(UserError, match=words):
        find_place(*flags, {})


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("gpu007", "gpu007"),
        ("gpu[007-009,12]", "gpu007"),
        ("a1,b2", "a1"),
        ("rack[1-2]n[03,07],x", "rack1n03"),
        ("gpu[12,14-15]-ib", "gpu12-ib"),
    ],
)
def test_the_first_node_of_a_list(nodes, first):
    assert first_node(nodes) == first
