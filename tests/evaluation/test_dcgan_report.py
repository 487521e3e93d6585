import pytest
from made_up import make_distance, make_samples
from PIL import Image
from report_page import Page

from brainsynth_jax.evaluation.dcgan_report import write_dcgan_report

RECORDS = [{"step": k, "seconds_per_step": 0.5} for k in range(1, 801)]


def make_evaluation(**changes):
    """`changes` of the run, and of what `evaluate_samples` gives."""
    synthetic = make_samples()
    ours = {name: changes.pop(name) for name in synthetic if name in changes}
    return {
        "schema": 1,
        "kind": "dcgan",
        "synthetic": synthetic | ours,
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
    assert "Kernel distance (KID): 0.52 (95 % interval 0.41 to 0.64), 4.73 times the 0.11" in words
    assert "training slices 2.13 above samples, held-out slices 1.36 below." in words
    assert "the running average of the generator's weights (EMA), after 700 steps" in words
    assert 'the checkpoint "best". How the best is chosen: The lowest kernel distance.' in words
    assert "seed 4, dropout off" in words
    assert words.index("Like real slices?") < words.index("As varied as real slices?")
    assert words.index("Copies of training slices?") < words.index("The numbers")
    assert words.index("The numbers") < words.index("script")


def test_the_table_holds_each_number_beside_its_real_one(write):
    words = write(make_evaluation()).words
    assert "0.52 0.41 to 0.64 500 and 72 slices 0.11 0.05 to 0.22 390 and 72 slices 4.73" in words
    assert "Good: as real 60.0 % 55.0 % to 65.0 % 70 slices a side 70.0 % 50.0 % to 80.0 %" in words
    assert "1.31 1.05 1.25" in words
    assert "2.13 -1.36" in words
    assert "in this space: An encoder. 256 numbers a slice, fingerprint 0a1b2c3d4e5f" in words


def test_what_is_none_is_left_out_with_a_reason(write):
    evaluation = make_evaluation(
        test=None,
        compared_with="train",
        copies=None,
        critic_gap={"train": 2.13, "test": None},
        kid=make_distance(None, None, None, None),
        weights="raw",
    )
    words = write(evaluation).words
    assert "Left out: there are no held-out slices to score." in words
    assert "the generator's weights as the last step left them" in words
    numbers = words[words.index("The numbers") :]
    table, _, below = numbers.partition("Left out, as there is too little for it: Kernel distance")
    assert "Kernel distance" not in table
    assert "it needs 8 slices a side, and here are 500 and 390." in below
    assert "2.13 -" in table


@pytest.mark.parametrize(("step", "when"), [(700, "700, before that"), (750, "750, not before")])
def test_a_collapse_is_the_first_thing_said(write, step, when):
    collapse = {"step": 750, "epoch": 30, "reason": "samples have become alike"}
    words = write(make_evaluation(collapse=collapse, step=step)).words
    assert "By epoch 30 (step 750) samples have become alike." in words
    assert when in words
    assert words.index("This run went bad.") < words.index("What is this?")


def test_the_film_is_embedded(write, tmp_path):
    film = tmp_path / "film.gif"
    Image.new("L", (2, 2)).save(film)
    page = write(make_evaluation(), film=film)
    assert [source.partition(",")[0] for source in page.sources] == ["data:image/gif;base64"]
    assert "From the first epoch to the last" in page.words
    assert "From the first epoch to the last" not in write(make_evaluation()).words
