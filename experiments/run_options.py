"""From the command line to one run: flags, presets, and what an earlier part began with."""

from collections.abc import Collection, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from command_line import given_flags, resolve_flags

from brainsynth_jax.errors import UserError
from brainsynth_jax.training.run_folder import (
    check_same_options,
    load_options,
)


class Run(NamedTuple):
    """One run, new or gone on with.

    Attributes:
        workdir: its folder; None in a new run that was given none.
        options: one attribute for each flag.
        stored: options.json of the earlier part, None in a new run.
    """

    workdir: Path | None
    options: SimpleNamespace
    stored: dict[str, Any] | None

    def check_data(self, fingerprint: str) -> None:
        """Raises UserError where an earlier part of the run saw other slices."""
        if self.stored and self.stored["data"]["fingerprint"] != fingerprint:
            raise UserError(
                f"--data_dir={self.options.data_dir}: these slices are not those that the run in "
                f"{self.workdir} began with. Give back the same scans, or a new --workdir."
            )


def resolve_run(
    script: str, presets: Mapping[str, Mapping[str, Any]], free: Collection[str]
) -> Run:
    """The run that the command line asks for.

    A flag's value is what stands on the command line, else what the run began with, else the
    preset's, else its default.

    Args:
        script: names new run folders and must be the one that began an earlier run.
        presets: two, for the phantom and for data of one's own, each flag -> value.
        free: flags that may differ between the parts of one run.

    Raises:
        UserError: the folder is no run's or another script's, or a flag differs from what the run
            began with.
    """
    given = given_flags()
    workdir = Path(given["workdir"]).expanduser() if "workdir" in given else None
    stored = load_options(workdir) if workdir else None
    if stored is None:
        phantom, own_data = presets
        preset = given.get("preset")
        if preset is None:
            preset = own_data if {"data_dir", "run"} & given.keys() else phantom
        values = resolve_flags(given, {"preset": preset}, presets[preset])
        return Run(workdir, SimpleNamespace(**values), None)
    if stored["script"] != script:
        raise UserError(
            f"--workdir={workdir} holds a run of experiments/{stored['script']}.py. "
            "Go on with that script, or give another folder."
        )
    began = stored["flags"]
    changeable = set(free)
    if given.get("epochs", 0) > began.get("epochs", 0) and not began["decay_epochs"]:
        changeable.add("epochs")  # a longer run at a constant rate begins just like a shorter one
    check_same_options(
        workdir,
        {f"--{name}": value for name, value in began.items()},
        {f"--{name}": value for name, value in given.items() if name not in changeable},
    )
    return Run(workdir, SimpleNamespace(**resolve_flags(given, began)), stored)
