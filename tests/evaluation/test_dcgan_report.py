import numpy as np
import pytest
from PIL import Image
from report_page import Page

from brainsynth_jax.evaluation import dcgan_report
from brainsynth_jax.evaluation.copies import Nearest, Neighbours, Slices, summarize_copies
from brainsynth_jax.evaluation.dcgan_report import write_dcgan_report
from brainsynth_jax.evaluation.distances import RealSet, compare_to_real, kernel_distance

RECORDS = [{"step": k, "seconds_per_step": 0.5} for k in range(1, 801)]
HELD_OUT = np.linspace(0.1, 0.2, 72)


def make_distance(value=0.52, interval=(0.41, 0.64), floor=0.11, floor_range=(0.05, 0.22)):
    return {
        "value": value,
        "interval_95": interval and list(interval),
        "images": [500, 72],
        "subjects": 3,
        "floor": floor,
        "floor_range": floor_range and list(floor_range),
        "floor_images": [390, 72],
    }


def make_similarity(made=(0.43, 0.47), real=(0.36, 0.45)):
    return {
        name: {
            "mean": None if interval is None else sum(interval) / 2,
            "interval_95": interval and list(interval),
            "pairs": 400,
            "images": images,
        }
        for name, interval, images in (("samples", made, 500), ("real", real, 390))
    }


def make_copies(samples, heldout=HELD_OUT, subjects=("a", "b", "c")):
    """Of distances by pixels; those by features are ten times as far, half of them authentic."""

    def neighbours(distances):
        of_pixels = Nearest(distances, *np.zeros((2, len(distances)), int))
        return Neighbours(of_pixels, of_pixels._replace(distances=10 * distances))

    training = Slices(np.zeros(2), np.array([[0.0], [1.5]]), ["x", "y"])
    names = np.resize(subjects, len(heldout))
    return summarize_copies(neighbours(np.asarray(samples)), neighbours(heldout), names, training)


def make_evaluation(**changes):
    return {
        "samples": 500,
        "train": {"slices": 390, "subjects": 15},
        "test": {"slices": 72, "subjects": 3},
        "compared_with": "test",
        "feature_space": {
            "name": "encoder",
            "recipe": "An encoder.",
            "dimensions": 256,
            "fingerprint": "0a1b2c3d4e5f",
        },
        "frechet": make_distance(92.4, (81.2, 104.6), 61.0, (48.2, 80.1)),
        "kid": make_distance(),
        "ms_ssim": make_similarity(),
        "grid_energy": {"samples": 1.31, "real": 1.05, "ratio": 1.248},
        "copies": make_copies(np.full(500, 0.13)),
        "critic_gap": {"train": 2.13, "test": -1.36},
        "weights": "ema",
        "checkpoint": "best",
        "step": 700,
        "sampling": {"seed": 4, "dropout": False},
        "best_rule": "The lowest kernel distance.",
        "collapse": None,
    } | changes


@pytest.fixture
def write(tmp_path):
    def write(evaluation, **changes):
        arguments = {
            "title": "DCGAN",
            "options": {"script": "dcgan", "flags": {"seed": 7}},
            "evaluation": evaluation,
            "records": RECORDS,
            "curves_png": None,
            "sample_pngs": [],
            "film": None,
            "notes": [],
        }
        write_dcgan_report(tmp_path / "report.html", **arguments | changes)
        return Page((tmp_path / "report.html").read_text(encoding="utf-8"))

    return write


def test_plain_answers_come_first(write):
    words = write(make_evaluation()).words
    assert "Research use only; not for diagnosis." in words
    assert (
        "500 slices drawn from noise, of no patient, beside 72 real slices of 3 subjects" in words
    )
    assert "With 3 subjects the intervals are rough" in words
    assert (
        "Kernel distance (KID): 0.52 (95 % interval 0.41 to 0.64), 4.73 times the 0.11 between "
        "real slices (0.05 to 0.22, as the subjects are divided)." in words
    )
    assert "1.51 times the 61 between real slices (48.2 to 80.1" in words
    assert "of fewer slices, which raises it" in words
    assert "of two samples: 0.45 (95 % interval 0.43 to 0.47)" in words
    assert "1.25 times that of real slices; 1 is none." in words
    assert "training slices 2.13 above samples, held-out slices 1.36 below." in words
    assert "the running average of the generator's weights (EMA), after 700 steps" in words
    assert 'the checkpoint "best". How the best is chosen: The lowest kernel distance.' in words
    assert "seed 4, dropout off" in words
    assert words.index("Like real slices?") < words.index("The numbers") < words.index("script")


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((0.41, 0.64), "Samples are further from held-out slices than real slices"),
        ((0.21, 0.64), "Samples are not shown to be further"),
        ((0.01, 0.06), "Samples are not shown to be further"),
        ((0.01, 0.04), "Samples are nearer to held-out slices than real slices"),
        (None, "There is too little to compare with"),
    ],
)
def test_likeness_is_judged_by_interval_and_floor(write, interval, verdict):
    both = make_distance(interval=interval) | {"floor_images": [500, 72]}
    words = write(make_evaluation(kid=both, frechet=both)).words
    phrases = ("are further from", "not shown to be further", "Samples are nearer", "too little to")
    assert verdict in words
    assert sum(phrase in words for phrase in phrases) == 1


def test_distances_that_disagree_are_told_apart(write):
    words = write(make_evaluation(kid=make_distance(interval=(0.1, 0.9)))).words
    assert "By the kernel distance (KID): samples are not shown to be further" in words
    assert "By the Fréchet distance: samples are further" in words


def test_a_frechet_floor_of_fewer_slices_proves_no_nearness(write):
    both = make_distance(interval=(0.01, 0.04))
    words = write(make_evaluation(kid=both, frechet=both)).words
    assert "By the kernel distance (KID): samples are nearer to held-out slices" in words
    assert "By the Fréchet distance: samples are not shown to be further" in words


def test_nothing_is_divided_by_a_floor_around_zero(write):
    words = write(make_evaluation(kid=make_distance(floor=0.01, floor_range=(-0.02, 0.04)))).words
    assert "0.64), beside 0.01 between real slices (-0.02 to 0.04" in words
    assert "Samples are further from held-out slices" in words
    assert "-0.02 to 0.04 390 and 72 slices -" in words


@pytest.mark.parametrize(
    ("made", "real", "verdict"),
    [
        ((0.7, 0.8), (0.3, 0.6), "Less: samples are more alike than real slices are."),
        ((0.1, 0.2), (0.3, 0.6), "Samples are less alike than real slices are, which is no merit"),
        ((0.5, 0.8), (0.3, 0.6), "No difference in variety is shown."),
    ],
)
def test_variety_is_judged_by_both_intervals(write, made, real, verdict):
    words = write(make_evaluation(ms_ssim=make_similarity(made, real))).words
    assert verdict in words
    assert sum(text in words for text in ("Less:", "are less alike", "No difference")) == 1
    assert "mode collapse: one picture drawn again and again" in words


@pytest.mark.parametrize(
    ("samples", "verdict", "suspicious", "near"),
    [
        (np.full(500, 0.01), "Yes: some samples", "100.0 %", "0.0 %"),
        (np.full(500, 0.09), "Not by this measure", "0.0 %", "100.0 %"),
        (HELD_OUT, "Not by this measure", "0.0 %", "1.4 %"),
    ],
)
def test_copies_are_called_so_by_their_share(write, samples, verdict, suspicious, near):
    words = write(make_evaluation(copies=make_copies(samples))).words
    assert f"Copies of training slices? {verdict}" in words
    assert f"{suspicious} of samples are suspicious: so near to a training slice" in words
    assert f"Another {near} are near: nearer than 99 % of the slices of every" in words


def test_both_spaces_stand_in_the_table(write):
    samples = np.repeat([0.01, 0.09, 0.19], [50, 100, 350])
    words = write(make_evaluation(copies=make_copies(samples))).words
    for name, near, suspicious in (("pixels", "0.101", "0.0606"), ("features", "1.01", "0.606")):
        assert f"Near by {name} samples nearer than {near} to a training slice" in words
        assert f"Suspiciously near by {name} samples nearer than {suspicious} to" in words
    assert words.count("Good: a few %, more if blurred 30.0 % 500 slices - -") == 2
    assert words.count("Good: none 10.0 % 500 slices - -") == 2
    assert "1.9 500 slices 1.5 72 slices 1.27" in words
    assert "slices of other subjects, are 70.0 % of samples and 50.0 % of held-out slices" in words
    assert "Good: not far below held-out 70.0 % 500 slices 50.0 % 72 slices -" in words


def test_what_is_none_is_left_out_with_a_reason(write):
    evaluation = make_evaluation(
        test=None,
        compared_with="train",
        copies=None,
        critic_gap={"train": 2.13, "test": None},
        kid=make_distance(None, None, None, None),
        frechet=make_distance(92.4, (81.2, 104.6), None, None),
        weights="raw",
    )
    words = write(evaluation).words
    assert "390 real slices of 15 subjects that the generator was trained on" in words
    assert "Kernel distance (KID): left out, as it needs 8 images on either side" in words
    assert "the real slices are too few to measure it between them" in words
    assert "Left out: without held-out subjects nothing says how near is too near." in words
    assert "Left out: there are no held-out slices to score." in words
    assert "the generator's weights as the last step left them" in words
    numbers = words[words.index("The numbers") :]
    assert "Kernel distance" not in numbers
    assert "nearest training slice" not in numbers
    assert "92.4 81.2 to 105 500 and 72 slices - -" in numbers


def test_too_few_images_for_copies_and_pairs_are_said(write):
    evaluation = make_evaluation(
        copies=make_copies(np.ones(3)),
        ms_ssim=make_similarity(None, None),
    )
    words = write(evaluation).words
    assert (
        "it needs 8 samples and as many held-out slices, of 2 subjects, and here are 3 and 72, of 3"
    ) in words
    assert "it needs two samples and real slices of two subjects" in words
    assert "MS-SSIM" not in words


@pytest.mark.parametrize(
    ("heldout", "subjects", "reason"),
    [
        (HELD_OUT, ["a"], "held-out slices, of 2 subjects, and here are 500 and 72, of 1."),
        (np.zeros(72), ["a", "b"], "Left out: held-out slices equal training slices, so nothing"),
    ],
)
def test_without_a_yardstick_for_copies_the_reason_is_said(write, heldout, subjects, reason):
    copies = make_copies(np.full(500, 0.01), heldout, subjects)
    words = write(make_evaluation(copies=copies)).words
    assert reason in words
    assert "nearest training slice" not in words


def test_one_held_out_subject_gives_no_verdict(write):
    rng = np.random.default_rng(0)
    real = RealSet(rng.normal(size=(20, 4)), ["a"] * 20)
    everyone = RealSet(rng.normal(size=(60, 4)), ["a"] * 20 + ["b"] * 20 + ["c"] * 20)
    distance = compare_to_real(kernel_distance, rng.normal(size=(30, 4)), real, everyone, 0)
    evaluation = make_evaluation(kid=distance, frechet=distance, test={"slices": 20, "subjects": 1})
    words = write(evaluation).words
    assert "(no interval)" in words
    assert "There is too little to compare with, so it stays open." in words
    assert "intervals are rough" not in words


@pytest.mark.parametrize(("step", "when"), [(700, "700, before that"), (750, "750, not before")])
def test_a_collapse_is_the_first_thing_said(write, step, when):
    collapse = {"step": 750, "epoch": 30, "reason": "samples have become alike"}
    words = write(make_evaluation(collapse=collapse, step=step)).words
    assert "By epoch 30 (step 750) samples have become alike." in words
    assert when in words
    assert words.index("This run went bad.") < words.index("What is this?")


def test_the_table_holds_each_number_beside_its_real_one(write):
    words = write(make_evaluation()).words
    assert "0.52 0.41 to 0.64 500 and 72 slices 0.11 0.05 to 0.22 390 and 72 slices 4.73" in words
    assert "400 pairs of 500 slices 0.405 0.36 to 0.45 400 pairs of 390 slices 1.11" in words
    assert "1.31 1.05 1.25" in words
    assert "0.13 500 slices 0.15 72 slices 0.867" in words
    assert "2.13 -1.36" in words
    assert "256 numbers a slice, fingerprint 0a1b2c3d4e5f" in words


def test_marks_lie_within_their_axis():
    pairs = ((0.52, [0.41, 0.64]), (0.01, [-0.1, 0.22]))
    strip = dcgan_report._strip("", *pairs)
    (_, _, ours, interval), (_, _, real, real_interval) = strip.lanes
    assert 0 == real_interval[0] < real < real_interval[1] < interval[0] < ours < interval[1] <= 1
    assert [label for _, label in strip.ticks] == ["0", "0.325", "0.65"]
    assert strip.ticks[0][0] == pytest.approx(0.1 / 0.75)
    assert dcgan_report._strip("", (-0.1, None), (-0.2, None)).lanes[1][2] == 0


def test_the_film_is_embedded(write, tmp_path):
    film = tmp_path / "film.gif"
    Image.new("L", (2, 2)).save(film)
    page = write(make_evaluation(), film=film)
    assert [source.partition(",")[0] for source in page.sources] == ["data:image/gif;base64"]
    assert "From the first epoch to the last" in page.words
    assert "From the first epoch to the last" not in write(make_evaluation()).words
