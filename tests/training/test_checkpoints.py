"""What is saved comes back bit for bit; what is damaged is passed over."""

import logging
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainsynth_jax.errors import UserError
from brainsynth_jax.training.checkpoints import Checkpoints


def state_at(step):
    key = jax.random.key(step)
    return {"step": jnp.int32(step), "weights": jax.random.normal(key, (300, 300)), "none": None}


def assert_equal(state, other):
    jax.tree.map(np.testing.assert_array_equal, state, other)


def largest_file(folder):
    return max((f for f in folder.rglob("*") if f.is_file()), key=lambda f: f.stat().st_size)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def overwrite(path):
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64)
    path.write_bytes(content)


def test_the_newest_and_the_best_stay_and_come_back_exactly(tmp_path):
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        for step, score in ((1, 0.3), (2, 0.9), (3, 0.5), (4, 0.6), (5, None)):
            checkpoints.save(step, state_at(step), score)
            checkpoints.wait()
        assert checkpoints.steps == [2, 4, 5]
        assert checkpoints.best_step == 2
        assert_equal(checkpoints.restore(2, state_at(0)), state_at(2))
    with Checkpoints(tmp_path, keep=2) as reopened:
        step, state = reopened.restore_newest(state_at(0))
        assert step == 5
        assert reopened.best_step == 2
        assert_equal(state, state_at(5))


def test_a_state_can_be_used_up_while_it_is_being_written(tmp_path):
    step = jax.jit(lambda state: jax.tree.map(lambda x: x * 2, state), donate_argnums=0)
    state = {"weights": jnp.arange(1e6)}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state)
        for _ in range(3):
            state = step(state)
        jax.block_until_ready(state)
        checkpoints.wait()
        restored = checkpoints.restore(1, state)
    np.testing.assert_array_equal(restored["weights"], np.arange(1e6, dtype=np.float32))


def test_a_new_run_has_nothing_to_restore(tmp_path):
    with Checkpoints(tmp_path / "new") as checkpoints:
        assert checkpoints.restore_newest(state_at(0)) is None
        assert checkpoints.best_step is None


@pytest.mark.parametrize("damage", [cut, overwrite, lambda path: path.unlink()])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, damage, caplog):
    with Checkpoints(tmp_path) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, state_at(step))
    damage(largest_file(tmp_path / "2"))
    with caplog.at_level(logging.WARNING), Checkpoints(tmp_path) as checkpoints:
        step, state = checkpoints.restore_newest(state_at(0))
        assert step == 1
        assert_equal(state, state_at(1))
        assert "step 2 is damaged" in caplog.text
        checkpoints.save(2, state_at(2))
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.restore_newest(state_at(0))[0] == 2
    assert (tmp_path / "damaged-2-1").is_dir(), "nothing is deleted"


def test_when_all_are_damaged_the_message_names_them(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state_at(1))
    cut(largest_file(tmp_path / "1"))
    for _ in range(2):  # nothing is moved, so that a second try does not begin anew
        with Checkpoints(tmp_path) as checkpoints, pytest.raises(UserError, match=r"None .*\[1\]"):
            checkpoints.restore_newest(state_at(0))


def test_too_little_memory_is_no_damage(tmp_path, monkeypatch):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state_at(1))
        checkpoints.wait()

        def no_memory(step, like):
            raise MemoryError

        monkeypatch.setattr(checkpoints, "_restore", no_memory)
        with pytest.raises(MemoryError):
            checkpoints.restore_newest(state_at(0))
    assert (tmp_path / "1").is_dir()


def test_a_look_at_a_run_moves_nothing(tmp_path, caplog):
    with Checkpoints(tmp_path) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, state_at(step))
    cut(largest_file(tmp_path / "2"))
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        assert checkpoints.restore_newest(state_at(0))[0] == 1
    assert (tmp_path / "2").is_dir()
    assert "falling back to step 1" in caplog.text


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="no file size limits on this system")
def test_a_disk_that_is_full_in_the_middle_of_writing(tmp_path):
    """A file size limit is met where a full disk would be: in the background writer."""
    code = f"""
import resource, signal
import jax, jax.numpy as jnp
from brainsynth_jax.errors import UserError
from brainsynth_jax.training.checkpoints import Checkpoints
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    with Checkpoints(__import__("pathlib").Path({str(tmp_path / "run")!r})) as checkpoints:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        checkpoints.save(1, {{"x": jax.random.normal(jax.random.key(0), (300, 300))}})
        checkpoints.wait()
except UserError as error:
    print("one sentence:", error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "one sentence: The checkpoint could not be written" in done.stdout, done.stderr
    assert "same --workdir" in done.stdout


def test_a_step_without_checkpoint_is_named(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state_at(1))
        checkpoints.wait()
        with pytest.raises(UserError, match=r"no checkpoint of step 7; there are \[1\]"):
            checkpoints.restore(7, state_at(0))


def test_a_checkpoint_of_other_networks_is_told_and_left_alone(tmp_path):
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        checkpoints.save(1, state_at(1))
    smaller = state_at(0) | {"weights": jnp.zeros((300, 200))}
    more = state_at(0) | {"average": jnp.zeros(3)}
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        for restore in (checkpoints.restore_newest, lambda like: checkpoints.restore(1, like)):
            with pytest.raises(UserError, match=r"weights is \(300, 300\) .* \(300, 200\)"):
                restore(smaller)
            with pytest.raises(UserError, match=r"average is missing in the one"):
                restore(more)
        assert_equal(checkpoints.restore(1, state_at(0)), state_at(1))
