"""The paper's comparison from scans to page, taken up again, and given runs that do not match."""

import json
import shutil

import pytest
from conftest import wait
from run_checks import assert_every_flag_is_explained, assert_refused

# The U-Net needs 256 pixels, so it is the networks and the numbers that are small.
TINY_COMPARISON = (
    "--width=2",
    "--epochs=1",
    "--steps_per_epoch=2",
    "--train_pairs=4",
    "--test_pairs=0",
    "--supervised_steps=1",
)

# Compiled without optimisation: of a few steps of tiny networks, compiling takes most of the time.
QUICK = {"XLA_FLAGS": "--xla_backend_optimization_level=0"}


@pytest.fixture(scope="module")
def compare(start):
    """compare(*flags): the script, waited for."""
    return lambda *flags: wait(start("compare", *flags, environment=QUICK), seconds=900)


@pytest.fixture(scope="module")
def compared(compare, phantom_dir, tmp_path_factory):
    """The folder of a comparison, and what it printed."""
    workdir = tmp_path_factory.mktemp("compare") / "all"
    flags = (f"--workdir={workdir}", f"--data_dir={phantom_dir}", *TINY_COMPARISON)
    return workdir, compare(*flags)


@pytest.fixture
def changed(compared, tmp_path):
    """changed(name, **flags): a copy of that run with other options in options.json."""

    def changed(name, **flags):
        folder = tmp_path / name
        shutil.copytree(compared[0] / name, folder)
        options = json.loads((folder / "options.json").read_text())
        options["flags"] |= flags
        (folder / "options.json").write_text(json.dumps(options))
        return folder

    return changed


def test_both_networks_are_trained_alike_and_set_side_by_side(compared):
    workdir, finished = compared
    assert finished.status == 0, finished.error
    assert "not decidable at this size   The U-Net marks the tumours" in finished.out
    assert str(workdir / "comparison.html") in finished.out
    comparison = json.loads((workdir / "comparison.json").read_text())
    assert comparison["differences_of_options"] == []
    assert len(comparison["claims"]) == 10
    assert comparison["schema"] == 1
    assert comparison["supervised_steps"] == {"resnet": 1, "unet": 1}
    table = (workdir / "comparison.csv").read_text()
    assert table.startswith("measure,of,mean,low,high,subjects\n")
    assert "\ndice,threshold," in table
    options = json.loads((workdir / "unet" / "options.json").read_text())
    assert options["flags"]["test_pairs"] == 0, "a nought is passed on"
    assert comparison["held_out_subjects"] == 1
    for name, parameters in (("resnet", 11_285), ("unet", 53_235)):
        network = comparison["networks"][name]
        evaluation = json.loads((workdir / name / "evaluation.json").read_text())
        assert network["steps"] == 2
        assert network["parameters"] == parameters
        assert network["train_slices"] == 4
        assert network["table2"]["test"] == evaluation["test"]["table2"]
        # The same slices, drawn again by the same weights.
        assert network["segmentation"]["subjects"] == evaluation["test"]["segmentation"]["subjects"]
        for direction in ("a_to_b", "b_to_a"):
            again = network["translation"][direction]["mae"]["mean"]
            assert again == pytest.approx(evaluation["test"]["mae"][direction], rel=1e-4)
        assert len(network["supervised"]["subjects"]) == 1
    page = (workdir / "comparison.html").read_text()
    assert "<script" not in page
    for direction in ("a_to_b", "b_to_a"):
        assert (workdir / f"figure_{direction}.png").stat().st_size > 1000


def test_what_is_done_is_not_done_again(compare, compared):
    workdir, _ = compared
    before = (workdir / "comparison.json").read_text()
    (workdir / "comparison.json").unlink()
    again = compare(f"--workdir={workdir}")
    assert again.status == 0, again.error
    assert again.out.count("done before") == 2
    assert "Training" not in again.out
    assert (workdir / "comparison.json").read_text() == before
    assert_refused(compare(f"--workdir={workdir}", "--width=3"), "--width was 2 and is now 3")


def test_runs_that_differ_in_more_than_the_network_are_refused_or_listed(
    compare, compared, changed, tmp_path
):
    resnet, unet = compared[0] / "resnet", changed("unet", learning_rate=0.1)
    flags = (f"--resnet={resnet}", f"--unet={unet}", f"--workdir={tmp_path / 'given'}")
    words = "learning_rate is 0.0002 with the ResNet and 0.1 with the U-Net"
    assert_refused(compare(*flags), words, "--allow_differences")
    assert not (tmp_path / "given").exists()
    allowed = compare(*flags, "--supervised_steps=1", "--allow_differences")
    assert allowed.status == 0, allowed.error
    assert words in (tmp_path / "given" / "comparison.html").read_text()


def test_runs_whose_pictures_show_other_things_are_refused_whatever_is_allowed(
    compare, compared, changed
):
    unet = changed("unet", mask_style="tumor_in_brain")
    flags = (f"--resnet={compared[0] / 'resnet'}", f"--unet={unet}", "--allow_differences")
    refused = compare(*flags)
    assert_refused(refused, "--mask_style is tumor with the ResNet and tumor_in_brain with")


def test_flags_that_change_no_number_or_came_later_are_no_difference(compare, compared, changed):
    unet = changed("unet", data_licence="CC0", encoder="own.onnx", skip_evaluation=True)
    options = json.loads((unet / "options.json").read_text())
    del options["flags"]["train_subjects"]
    (unet / "options.json").write_text(json.dumps(options))
    (unet / "evaluation.json").write_text(
        json.dumps(json.loads((unet / "evaluation.json").read_text()) | {"step": 1})
    )
    refused = compare(f"--resnet={compared[0] / 'resnet'}", f"--unet={unet}")
    assert_refused(refused, "network's: the evaluated step is 2 with the ResNet and 1 with the U")


def test_unequal_data_and_steps_are_named(compare, compared, changed):
    unet = changed("unet")
    options = json.loads((unet / "options.json").read_text())
    options["data"]["fingerprint"] = "elsewhere"
    (unet / "options.json").write_text(json.dumps(options))
    evaluation = json.loads((unet / "evaluation.json").read_text())
    (unet / "evaluation.json").write_text(json.dumps(evaluation | {"step": 1}))
    refused = compare(f"--resnet={compared[0] / 'resnet'}", f"--unet={unet}")
    assert_refused(
        refused,
        "and elsewhere with the U-Net",
        "the evaluated step is 2 with the ResNet and 1 with the U-Net",
    )


def test_folders_that_hold_no_such_run_are_refused(compare, compared, changed, tmp_path):
    resnet, unet = compared[0] / "resnet", compared[0] / "unet"
    assert_refused(compare(f"--resnet={resnet}"), "--resnet and --unet", "together")
    assert_refused(
        compare(f"--resnet={tmp_path}", f"--unet={unet}"),
        f"--resnet={tmp_path} holds no run",
    )
    assert_refused(
        compare(f"--resnet={resnet}", f"--unet={resnet}"),
        f"--unet={resnet} holds a run with --generator=resnet",
    )
    unfinished = changed("unet")
    (unfinished / "evaluation.json").unlink()
    assert_refused(
        compare(f"--resnet={resnet}", f"--unet={unfinished}"),
        "not finished",
        f"cyclegan.py --workdir={unfinished}",
    )
    assert_refused(compare(f"--workdir={resnet}"), "holds a run of experiments/cyclegan.py")


def test_help_groups_every_flag(compare):
    finished = compare("--help")
    assert finished.status == 0
    assert "The comparison\n--------------" in finished.out
    assert_every_flag_is_explained("compare", finished.out)
