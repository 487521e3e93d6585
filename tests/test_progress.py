import io
import sys

import pytest

from brainsynth_jax import progress
from brainsynth_jax.progress import Progress, duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (200, "3 min 20 s"),
        (3599.6, "1 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations_as_a_person_says_them(seconds, text):
    assert duration(seconds) == text


def test_a_pipe_gets_plain_lines_with_time_left(monkeypatch, capsys):
    clock = iter(range(0, 1000, 6))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with Progress("Training", 4, "step") as bar:
        for _ in range(4):
            bar.advance(1, "loss 0.5")
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "Training: step 2/4, 6.00 s each, 12 s left | loss 0.5",
        "Training: step 4/4, 6.00 s each, 0 s left | loss 0.5",
    ]


def test_a_run_that_goes_on_counts_only_its_own_speed(monkeypatch, capsys):
    clock = iter([0, 20, 40])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with Progress("Training", 100, "step", done=90) as bar:
        bar.advance()
        bar.advance()
    assert capsys.readouterr().out.splitlines() == [
        "Training: step 91/100",
        "Training: step 92/100, 20.00 s each, 2 min 40 s left",
    ]


def test_a_terminal_gets_a_bar(monkeypatch, capsys):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress("Training", 2, "step") as bar:
        bar.advance(1, "loss 0.5")
        bar.advance(1, "loss 0.4")
    assert "Training: 100%" in terminal.getvalue()
    assert "loss 0.4" in terminal.getvalue()
    assert capsys.readouterr().out == ""


def test_silence(capsys):
    with Progress("Training", 1, "step", shown=False) as bar:
        bar.advance()
    assert capsys.readouterr() == ("", "")
