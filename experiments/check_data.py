"""Looks for what is wrong with the data, before anything is trained on them.

  python experiments/check_data.py --data_dir=BraTS
  python experiments/check_data.py --data_dir=pictures --json=found.json

Takes the slices that cyclegan.py would train on and test with, given the same flags. Each finding
says what it does to training and how to cure it. cyclegan.py and dcgan.py look by themselves for
what spoils any run, and warn.

Exit status: 0 nothing was found, 1 something was, 2 a flag or the data cannot be used.
"""

import os
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import command_line
from command_line import FlagGroup, given_flags, resolve_flags
from cyclegan_setup import prepare_dataset
from dataset import describe_data, list_left_out

from brainsynth_jax.data.hygiene import Check, check_dataset
from brainsynth_jax.data.prepared import SliceDataset
from brainsynth_jax.files import write_json

_WIDTH = 98

# What cyclegan.py has beside these flags and what plays no part here: all slices are looked at.
_REST = {"mask_classes": "whole", "train_subjects": 0, "train_pairs": 0, "test_pairs": 0}

data = FlagGroup("Data")
data.string(
    "data_dir",
    None,
    "Folder with scans: a BraTS release, a Medical Segmentation "
    "Decathlon task, images/ + masks/, the LGG set, or trainA/ trainB/ testA/ testB/. "
    "Without it a phantom is made.",
)
data.string(
    "cache_dir",
    os.path.join("~", ".cache", "brainsynth_jax"),
    "Folder for the phantom and prepared slices.",
)
data.choice("modality", "flair", ("flair", "t1", "t1ce", "t2"), "MR sequence to look at.")
data.choice(
    "intensity",
    "median",
    ("median", "percentiles"),
    "Scaling of each volume: centred on "
    "the brain's median, in its standard deviations; or by its 0.5 and 99.5 percentiles.",
)
data.integer("image_size", 256, "Height and width of a prepared slice in pixels.", 16)
data.integer(
    "min_tumor_area_pixels",
    50,
    "Tumour that a slice must show, in pixels of the prepared slice; ignored with --slices.",
)
data.string("slices", None, "Axial slices FIRST:LAST instead, both included: 60:107.")
data.number("test_fraction", 0.2, "Share of the subjects held out, between 0 and 1.", 0.0, 1.0)
data.integer("seed", 0, "Seed of the split.", highest=2**32 - 1)
data.switch("skip_bad_subjects", "Go on without subjects that cannot be used, and list them.")

output = FlagGroup("Output")
output.string("json", None, "File for the same as JSON.")


def main() -> None:
    """Data -> checks -> what was found."""
    options = SimpleNamespace(**resolve_flags(given_flags()), **_REST)
    cache_dir = Path(options.cache_dir).expanduser()
    command_line.use_cache(cache_dir)
    dataset = prepare_dataset(options, cache_dir)
    print("\n".join(describe_slices(dataset)))
    checks = check_dataset(dataset)
    print("\n" + describe_checks(checks))
    if options.json:
        found = {"data_dir": options.data_dir, **describe_data(dataset), "checks": to_json(checks)}
        write_json(Path(options.json).expanduser(), found)
    if any(check.findings for check in checks):
        sys.exit(1)


def describe_slices(dataset: SliceDataset) -> list[str]:
    """Lines on what is looked at."""
    return [
        f"train: {len(dataset.train_a)} slices of A and {len(dataset.train_b)} masks of B",
        f"test: {len(dataset.test_a)} slices of A and {len(dataset.test_b)} masks of B",
        *list_left_out(dataset.skipped, len(dataset.skipped)),
    ]


def describe_checks(checks: Sequence[Check]) -> str:
    """Findings under their check's title; then what was looked at in vain, and what is not told."""
    lines = []
    for check in checks:
        if check.findings:
            lines += [check.title, "-" * len(check.title)]
        for finding in check.findings:
            lines += [
                *_wrap(f"{finding.what}.", "  "),
                *_wrap(f"Where: {finding.where}.", "    "),
                *_wrap(f"Effect: {finding.effect}", "    "),
                *_wrap(f"Cure: {finding.cure}", "    "),
                "",
            ]
    clean = [check.title for check in checks if not check.findings]
    if clean:
        looked_at = "Nothing found in:" if lines else "Nothing found. Looked at:"
        lines += [looked_at, *(f"  {title}" for title in clean)]
    untold = [
        f"{check.title.partition(':')[0]}: {text}" for check in checks for text in check.untold
    ]
    if untold:
        lines += ["Not told by these data:"]
        lines += [line for text in untold for line in _wrap(text, "  ")]
    return "\n".join(lines)


def to_json(checks: Sequence[Check]) -> list[dict]:
    """The checks as plain lists and dicts."""
    return [
        check._asdict() | {"findings": [finding._asdict() for finding in check.findings]}
        for check in checks
    ]


def _wrap(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent=indent, subsequent_indent=indent + "  ", break_long_words=False
    )


if __name__ == "__main__":
    command_line.run(main)
