"""The page that sets the paper's two networks side by side."""

import numpy as np
import pytest
from report_page import Page
from test_comparison import both, compare, segmented

from brainsynth_jax.evaluation.comparison_report import write_comparison_report
from brainsynth_jax.plots import save_sample_grid


@pytest.fixture
def write(tmp_path):
    """write(comparison, notes): the page."""

    def write(comparison, notes=(), **steps):
        picture = tmp_path / "figure.png"
        save_sample_grid(picture, [[np.zeros((8, 8))]], [""])
        path = tmp_path / "comparison.html"
        subjects = comparison["networks"]["unet"]["segmentation"] or {"subjects": {}}
        comparison |= {
            "supervised_steps": {"resnet": 2000, "unet": 2000} | steps,
            "supervised_rate": 2e-4,
            "held_out_slices": 240,
            "held_out_subjects": len(subjects["subjects"]),
        }
        figures = [("Figures 12 and 14", "Held-out slices.", picture)]
        write_comparison_report(path, comparison, {"seed": 0}, figures, notes)
        return Page(path.read_text())

    return write


def test_the_page_answers_first_and_shows_published_beside_measured(write):
    page = write(compare(), ["The data are a phantom."])
    for words in (
        "Of the paper's 10 claims about its two networks, 9 confirmed by these runs, 1 not",
        "drawn by the ResNet agree with the true ones with a mean Dice of 0.40",
        "those by the U-Net with 0.85",
        "ResNet's Dice minus the U-Net's is -0.45",
        "It takes about four times as long. section 4: 28.6 h and 6.9 h confirmed",
        "Gen 1.338 2.572 1.338 2.572 1.338 2.572",
        "Seconds a step median 8.2 2",
        "Peak memory, MiB of a GPU, or of the process 9,000 3,000",
        "The data are a phantom.",
        "12 held-out subjects, 240 slices",
        "on the same training subjects, each for 2,000 steps of eight slices",
        "Adam from a rate of 0.0002 on",
    ):
        assert words in page.words
    assert page.words.index("Of the paper's 10") < page.words.index("Figures 12 and 14")
    assert all(source.startswith("data:image/png") for source in page.sources)


def test_what_was_not_measured_leaves_a_dash_or_its_section_out(write):
    page = write(
        compare(
            **both(
                segmentation=None,
                supervised=None,
                translation=None,
                seconds_per_step=None,
                peak_memory_mib=None,
            )
        )
    )
    assert "Without true masks, Dice and errors against the truth are left out." in page.words
    assert "Peak memory, MiB of a GPU, or of the process - -" in page.words
    assert "Whole-tumour segmentation" not in page.words
    assert "Errors of the translated images" not in page.words
    assert "None" not in page.words
    assert "nan" not in page.words.lower()


def test_an_undefined_distance_is_counted_and_few_subjects_are_warned_of(write):
    empty = segmented(0.0, ["P00", "P01"])
    for scores in empty.values():
        scores["hausdorff_95_mm"] = None
    page = write(compare(resnet={"segmentation": empty}, unet={"segmentation": empty}))
    assert "95 % Hausdorff distance, mm - -" in page.words
    assert "With 2 subjects the intervals are rough" in page.words


def test_one_subject_has_no_interval_to_be_warned_of(write):
    page = write(compare(**both(segmentation=segmented(0.9, ["P00"]))))
    assert "1 held-out subject, 240 slices" in page.words
    assert "1 subjects" not in page.words
    assert "the intervals are rough" not in page.words


def test_unequal_steps_with_true_pairs_are_told_of_each_network(write):
    page = write(compare(), resnet=1)
    assert "the ResNet for 1 step and the U-Net for 2,000 steps of eight slices" in page.words


def test_claims_that_another_recipe_leaves_open_are_counted(write):
    page = write(compare(**both(phantom=True)))
    assert "3 confirmed by these runs, 6 not decidable by other data" in page.words


def test_a_network_without_its_supervised_twin_has_none_on_the_page(write):
    page = write(compare(**both(supervised=None)))
    assert "trained with true pairs, - and -" in page.words
    assert "minus its own with true pairs - -" in page.words
