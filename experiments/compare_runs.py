"""The two finished runs that compare.py lays side by side, and their held-out slices."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cyclegan_evaluation import Held
from finished_run import load_run
from run_options import Run

from brainsynth_jax.data.pipeline import SliceBatch, load_slices
from brainsynth_jax.data.prepared import Records, SliceDataset
from brainsynth_jax.errors import UserError
from brainsynth_jax.evaluation.comparison import NETWORKS

# Held in memory, spread over the subjects.
HELD_OUT_SLICES = 1_000

# What two runs may differ in: the network, names of folders, and what changes no number.
_UNCOMPARED = {
    *("generator", "preset", "workdir", "cache_dir", "data_dir"),
    *("dry_run", "devices", "log_every", "keep_checkpoints"),
    *("encoder", "data_licence", "skip_evaluation"),
}
# What slices and masks show: where it differs, no picture of one run is the truth of the other's.
_SHOWN = "modality", "intensity", "mask_style", "mask_classes"


class Finished(NamedTuple):
    """A finished run.

    Attributes:
        run: its folder and options.
        evaluation: what its evaluation.json holds.
    """

    run: Run
    evaluation: dict[str, Any]


def open_run(name: str, folder: Path, data_dir: str | None) -> Finished:
    """The finished run of this network in a folder.

    Raises:
        UserError: there is none, or it is another network's.
    """
    where = f"--{name}={folder}"
    run = load_run(str(folder), ("cyclegan",), data_dir, f"--{name}")
    if run.options.generator != name:
        raise UserError(
            f"{where} holds a run with --generator={run.options.generator}. Give one with "
            f"--generator={name}."
        )
    path = folder / "evaluation.json"
    if not path.exists():
        raise UserError(
            f"{where}: the run is not finished. To go on with it: python experiments/cyclegan.py "
            f"--workdir={folder}\nOr, where only its evaluation was skipped: python "
            f"experiments/evaluate.py --workdir={folder}"
        )
    return Finished(run, json.loads(path.read_text()))


def check_alike(runs: Mapping[str, Finished], allowed: bool) -> None:
    """Raises UserError where the runs differ in more than the network, unless that is allowed.

    What slices and masks show may never differ.
    """
    resnet, unet = (runs[name].run.options for name in NETWORKS)
    for name in _SHOWN:
        if (one := getattr(resnet, name)) != (other := getattr(unet, name)):
            raise UserError(
                f"--{name} is {one} with the ResNet and {other} with the U-Net, so that their "
                "slices cannot be laid beside each other. Train both with the same."
            )
    if (differences := list_differences(runs)) and not allowed:
        raise UserError(
            "The two runs differ in more than the network, so their difference would not be the "
            f"network's: {'; '.join(differences)}. Leave out --resnet and --unet to have both "
            "trained alike, or list this on the page by --allow_differences."
        )


def list_differences(runs: Mapping[str, Finished]) -> list[str]:
    """What two runs differ in besides the network: "seed is 0 with the ResNet and 1 ..."."""
    facts = [
        {name: value for name, value in vars(run.options).items() if name not in _UNCOMPARED}
        | {
            "the data's fingerprint": run.stored["data"]["fingerprint"],
            "the device": " ".join(run.stored.get("devices", ())),
            "the evaluated checkpoint": evaluation["checkpoint"],
            "the evaluated step": evaluation["step"],
        }
        for run, evaluation in (runs[name] for name in NETWORKS)
    ]
    return [
        f"{name} is {facts[0].get(name)} with the ResNet and {facts[1].get(name)} with the U-Net"
        for name in dict.fromkeys((*facts[0], *facts[1]))
        if facts[0].get(name) != facts[1].get(name)
    ]


def load_held_out(run: Run, dataset: SliceDataset) -> Held:
    """Slices of the test split, spread over the subjects where it holds very many."""

    def load(records: Records) -> SliceBatch:
        return load_slices(
            records,
            dataset.paired,
            run.options.mask_style,
            run.options.mask_classes,
            HELD_OUT_SLICES,
            run.options.seed,
        )

    slices = load(dataset.test_a)
    return Held(slices, slices if dataset.paired else load(dataset.test_b))


def keep_common(held: Mapping[str, Held]) -> dict[str, Held]:
    """Only the slices that both runs hold out, in one order.

    Raises:
        UserError: there are none, or they have different sizes.
    """
    sides = {name: slices.a.image.shape[1] for name, slices in held.items()}
    if len(set(sides.values())) > 1:
        raise UserError(
            f"The runs' slices have {' and '.join(map(str, sides.values()))} pixels a side, so "
            "they cannot be laid beside each other. Train both with one --image_size."
        )

    def places(slices: SliceBatch) -> dict[tuple[str, int], int]:
        names = zip(slices.subjects, slices.slice_numbers.tolist(), strict=True)
        return {name: place for place, name in enumerate(names)}

    def take(slices: SliceBatch, of_both: Sequence[SliceBatch]) -> SliceBatch:
        own = places(slices)
        shared = sorted(set(own).intersection(*(places(other) for other in of_both)))
        if not shared:
            raise UserError(
                "The runs hold out different slices, so there is none to compare them on. Train "
                "both on the same data with the same --seed."
            )
        rows = [own[name] for name in shared]
        return SliceBatch(
            *([v[k] for k in rows] if isinstance(v, list) else v[rows] for v in slices)
        )

    kept = {}
    for name, own in held.items():
        a = take(own.a, [other.a for other in held.values()])
        b = a if own.b is own.a else take(own.b, [other.b for other in held.values()])
        kept[name] = Held(a, b)
    return kept
