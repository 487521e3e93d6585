"""One script run by another, in a process of its own."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def run_script(name: str, flags: Mapping[str, Any], more: Sequence[str] = ()) -> str | None:
    """Runs NAME.py, which shows its own progress; returns what went wrong, None if nothing did.

    `more` are words that follow the flags, and win over them. Ctrl-C or SIGTERM is passed on, and
    waited for: the script saves.
    """
    script = Path(__file__).with_name(f"{name}.py")
    command = [sys.executable, str(script), *(f"--{flag}={value}" for flag, value in flags.items())]
    command += more
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            problem = process.stderr.read()
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            raise
    if process.returncode == 0:
        return None
    if process.returncode > 128:
        raise KeyboardInterrupt
    print(problem, file=sys.stderr)
    lines = problem.strip().removeprefix("error: ").splitlines()
    return lines[-1] if lines else f"it was ended by signal {-process.returncode}"
