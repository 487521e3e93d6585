"""MODEL_CARD.md: what someone has to know who is given a trained model, or slices that it drew.

The headings are those of Mitchell et al., 2019 (arXiv 1810.03993). No subject is named in it: it is
made to be passed on.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from brainsynth_jax.evaluation.report import count, render, warn_of_few
from brainsynth_jax.evaluation.samples_words import Answer
from brainsynth_jax.files import write_atomically

_ABOUT = {
    "cyclegan": (
        "CycleGAN: MR slices to tumour masks and back",
        "Two generators, trained without aligned pairs: one draws the tumour mask of an MR slice, "
        "the other a slice from a mask.",
    ),
    "dcgan": (
        "DCGAN: MR slices with tumour from noise",
        "One generator that draws axial MR slices with tumour from random numbers.",
    ),
}
_USES = {
    "cyclegan": (
        "Making labelled slices for research on segmentation with few annotated scans. Whether "
        "they help is to be measured on the data in question, by `experiments/utility.py`.",
        "Proposing tumour masks, to be checked by a person.",
    ),
    "dcgan": (
        "Making slices for research, teaching and tests of software.",
        "Reader studies of how real synthetic slices look.",
    ),
}
_LIMITS = (
    "It draws single axial slices: neighbouring slices do not fit together to a volume.",
    "A drawn slice may add, move or remove findings.",
    "What the training subjects have in common, their scanner, age or kind of tumour, is in "
    "everything that it draws.",
    "That no copy was found does not prove that none can be drawn, and is no anonymisation.",
)
_MAKING = (
    *("preset", "generator", "loss", "image_size", "width", "upsample", "precision"),
    *("epochs", "steps_per_epoch", "batch_size", "learning_rate", "seed"),
)


def write_model_card(
    path: Path,
    options: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    answers: Sequence[Answer],
    went_bad: bool,
) -> None:
    """Writes the card.

    Args:
        path: of the card.
        options: what options.json holds.
        evaluation: what evaluation.json holds.
        answers: those of the report.
        went_bad: whether these are the last weights of a run whose earlier ones were better.

    Raises:
        UserError: the file can't be written.
    """
    script, flags, data = options["script"], options["flags"], options["data"]
    title, about = _ABOUT[script]
    limits = [*_LIMITS, *_warn_of_evidence(evaluation["synthetic"]["test"])]
    if went_bad:
        limits.append("The run went bad: earlier weights found far more of the tumours than these.")
    text = render(
        "model_card.md",
        title=title,
        about=about,
        step=evaluation["step"],
        uses=_USES[script],
        data=_describe_data(flags, data, evaluation["synthetic"]),
        answers=answers,
        limits=limits,
        making=[(name.replace("_", " "), flags[name]) for name in _MAKING if name in flags]
        + [("versions", ", ".join(f"{k} {v}" for k, v in options["versions"].items()))],
    )
    write_atomically(path, text.encode())


def _warn_of_evidence(test: Mapping[str, int | None] | None) -> list[str]:
    """`test`: numbers of held-out slices and, where they are known, subjects."""
    if test is None:
        return ["It was tested on nobody whom it was not trained on."]
    if test["subjects"] is None:
        return ["Whose the pictures are that it was tested on is unknown; perhaps one patient's."]
    if test["subjects"] == 1:
        return ["It was tested on 1 subject, which shows next to nothing."]
    return warn_of_few(test["subjects"])


def _describe_data(
    flags: Mapping[str, Any], data: Mapping[str, Any], synthetic: Mapping[str, Any]
) -> list[tuple[str, str]]:
    known = synthetic["train"]["subjects"] is not None
    noun = "subject" if known else "picture"
    source = "a phantom made by this program"
    if flags["data_dir"]:
        source = Path(flags["data_dir"]).resolve().name
    licence = flags.get("data_licence")
    return [
        ("Source", source),
        ("Sequence", flags["modality"].upper()),
        ("Licence", licence or "not stated; `--data_licence` of the training script states it"),
        ("Patients", "known" if known else "unknown: a picture may be of any"),
        ("Trained on", count(len(data["train_subjects"]), noun)),
        ("Held out for these numbers", count(len(data["test_subjects"]), noun)),
        ("Left out as unusable", count(len(data["left_out"]), "subject")),
        ("Fingerprint of the prepared slices", f"`{data['fingerprint']}`"),
    ]
