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
    notes: Sequence[str],
) -> None:
    """Writes the card.

    Args:
        path: of the card.
        options: what options.json holds.
        evaluation: what evaluation.json holds.
        answers: those of the report.
        notes: further sentences on the data or the run that the reader has to know.

    Raises:
        UserError: the file can't be written.
    """
    script, flags, data = options["script"], options["flags"], options["data"]
    title, about = _ABOUT[script]
    tested = len(data["test_subjects"])
    limits = [*_LIMITS, *notes, *(warn_of_few(tested) if tested > 1 else ())]
    if tested < 2:
        limits.append(f"It was tested on {count(tested, 'subject')}, which shows next to nothing.")
    text = render(
        "model_card.md",
        title=title,
        about=about,
        step=evaluation["step"],
        uses=_USES[script],
        data=_describe_data(flags, data),
        answers=answers,
        limits=limits,
        making=[(name.replace("_", " "), flags[name]) for name in _MAKING if name in flags]
        + [("versions", ", ".join(f"{k} {v}" for k, v in options["versions"].items()))],
    )
    write_atomically(path, text.encode())


def _describe_data(flags: Mapping[str, Any], data: Mapping[str, Any]) -> list[tuple[str, str]]:
    source = Path(flags["data_dir"]).name if flags["data_dir"] else "a phantom made by this program"
    licence = flags.get("data_licence")
    return [
        ("Source", source),
        ("Sequence", flags["modality"].upper()),
        ("Licence", licence or "not stated; `--data_licence` of the training script states it"),
        ("Trained on", count(len(data["train_subjects"]), "subject")),
        ("Held out for these numbers", count(len(data["test_subjects"]), "subject")),
        ("Left out as unusable", count(len(data["left_out"]), "subject")),
        ("Fingerprint of the prepared slices", f"`{data['fingerprint']}`"),
    ]
