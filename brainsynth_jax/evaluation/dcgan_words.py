"""What the numbers of a DCGAN's evaluation say, and what they don't, in plain words."""

from collections.abc import Mapping
from typing import Any

from brainsynth_jax.evaluation.report import count, short
from brainsynth_jax.evaluation.samples_words import Answer, introduce_samples, judge_samples

_NO_MASKS = Answer(
    "Is the tumour where the mask says?",
    "These slices come without masks, so nothing says where their tumour should be.",
)
_NO_TRAINING = Answer(
    "Useful for training on real patients?",
    "Not for a segmentation network, which needs masks. The CycleGAN makes slices with masks, and "
    "experiments/utility.py measures whether they help.",
)


def answer_questions(evaluation: Mapping[str, Any]) -> list[Answer]:
    """The answers, most important first, from what evaluation.json holds."""
    synthetic = evaluation["synthetic"]
    like_real, varied, copied, grid = judge_samples(synthetic)
    answers = [
        introduce_samples(synthetic, "drawn from noise, of no patient"),
        like_real,
        varied,
        _NO_MASKS,
        copied,
        _NO_TRAINING,
        grid,
        _judge_gaps(evaluation["critic_gap"]),
        _name_network(evaluation),
    ]
    return [_tell_collapse(evaluation), *answers] if evaluation["collapse"] else answers


def _tell_collapse(evaluation: Mapping[str, Any]) -> Answer:
    collapse, step = evaluation["collapse"], evaluation["step"]
    when = "before" if step < collapse["step"] else "not before"
    return Answer(
        "This run went bad.",
        f"By epoch {collapse['epoch']} (step {collapse['step']:,}) {collapse['reason']}. What is "
        f"shown here is from step {step:,}, {when} that was seen.",
    )


def _judge_gaps(gaps: Mapping[str, float | None]) -> Answer:
    question = "Training slices known by heart?"
    train = f"The discriminator scores training slices {_gap(gaps['train'])} samples"
    if gaps["test"] is None:
        return Answer(question, "Left out: there are no held-out slices to score.", f"{train}.")
    return Answer(
        question,
        f"{train}, held-out slices {_gap(gaps['test'])}.",
        "In its own units, without an interval. Held-out slices far below training slices are a "
        "sign that it knows these by heart (over-training).",
    )


def _gap(gap: float) -> str:
    return f"{short(abs(gap))} {'above' if gap >= 0 else 'below'}"


def _name_network(evaluation: Mapping[str, Any]) -> Answer:
    weights = {
        "ema": "the running average of the generator's weights (EMA)",
        "raw": "the generator's weights as the last step left them",
    }[evaluation["weights"]]
    sampling = evaluation["sampling"]
    return Answer(
        "Which network?",
        f"All numbers are of {weights}, after {count(evaluation['step'], 'step')}, from the "
        f'checkpoint "{evaluation["checkpoint"]}".',
        f"How the best is chosen: {evaluation['best_rule']} Samples are drawn with seed "
        f"{sampling['seed']}, dropout {'on' if sampling['dropout'] else 'off'}.",
    )
