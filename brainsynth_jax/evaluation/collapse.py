"""Is a generator's training going bad, and why?

GAN losses do not say it (Arjovsky et al., 2017, arXiv 1701.07875, figure 4), so the numbers that
are watched at the ends of epochs decide.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

# So many epochs in a row have to be bad: samples of a GAN swing.
PATIENCE_EPOCHS = 3
# Further from training slices than at the best epoch by this factor, and by more than held-out
# slices are.
_WORSE = 2.0
# Kernel distances that differ by less say nothing: real subjects are that far apart.
_LEAST_KID = 1.0
# Samples more alike than real slices by so much of what is left to 1.
_ALIKE = 0.5
# Nearer to training slices than held-out slices are, by this factor.
_NEAR = 0.5
# A critic that tells made slices from real ones, held out, by less than this share of the gap that
# it has on training slices, knows these by heart.
_BY_HEART = 0.5


class Collapse(NamedTuple):
    """The end of an epoch at which a run had gone bad.

    Attributes:
        step: optimiser updates done.
        epoch: from 1.
        reason: a sentence with its figures.
    """

    step: int
    epoch: int
    reason: str


def find_collapse(records: Sequence[Mapping[str, float]]) -> Collapse | None:
    """The first epoch at which a run had been bad for `PATIENCE_EPOCHS` epochs in a row.

    Bad is an epoch whose samples are further from training slices than twice the best epoch's so
    far plus what held-out slices are; or, once they had been varied, so alike that half of what
    separates real slices is gone; or nearer to training slices than half of what held-out slices
    are.

    Args:
        records: the objects of metrics.jsonl; those with `kid` are looked at, with the names that
            `dcgan.watch_samples` gives.
    """
    watched = [record for record in records if record.get("kid") is not None]
    in_a_row = 0
    for number, record in enumerate(watched):
        reason = find_fault(record, watched[:number])
        in_a_row = in_a_row + 1 if reason else 0
        if in_a_row == PATIENCE_EPOCHS:
            return Collapse(int(record["step"]), int(record["epoch"]), reason)
    return None


def find_fault(record: Mapping[str, float], before: Sequence[Mapping[str, float]]) -> str | None:
    """What is bad about one epoch, None if nothing is.

    Args:
        record: of the epoch's end.
        before: those of the epochs before it.
    """
    before = [other for other in before if other.get("kid") is not None]
    ratio = record.get("nearest_ratio")
    if ratio is not None and ratio < _NEAR:
        return (
            f"samples lie at {ratio:.2f} of the distance from training slices at which slices of "
            "held-out subjects do: it copies (over-training)"
        )
    if not before:
        return None
    alike, limit = record["ms_ssim_samples"], _alike_limit(record)
    varied_before = any(other["ms_ssim_samples"] < _alike_limit(other) for other in before)
    if varied_before and alike > limit:
        return (
            f"samples have become alike, MS-SSIM {alike:.2f} between two of them and "
            f"{record['ms_ssim_real']:.2f} between two real slices (mode collapse)"
        )
    best = min(before, key=lambda other: other["kid"])
    slack = max(record.get("kid_real", 0.0), _LEAST_KID)
    if record["kid"] > _WORSE * max(best["kid"], 0.0) + slack:
        return (
            f"samples have moved away from real slices, kernel distance {record['kid']:.3g} after "
            f"{best['kid']:.3g} at step {int(best['step'])}{_why(record)}"
        )
    return None


def _alike_limit(record: Mapping[str, float]) -> float:
    real = record.get("ms_ssim_real", 1.0)  # of one subject it is not known, and nothing is alike
    return real + _ALIKE * (1 - real)


def _why(record: Mapping[str, float]) -> str:
    train, test = record["critic_gap_train"], record.get("critic_gap_test")
    if test is not None and train > 0 and test < _BY_HEART * train:
        return (
            f"; the discriminator knows the training slices by heart: it tells them from made ones "
            f"by {train:.2f}, held-out ones by {test:.2f} (over-training)"
        )
    return ""
