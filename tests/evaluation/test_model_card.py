from brainsynth_jax.evaluation.model_card import write_model_card
from brainsynth_jax.evaluation.samples_words import Answer

OPTIONS = {
    "script": "cyclegan",
    "flags": {
        **{"data_dir": "/home/ann/BraTS2021", "modality": "flair", "preset": "paper"},
        **{"generator": "unet", "epochs": 20, "seed": 3, "data_licence": "CC BY 4.0"},
    },
    "data": {
        **{"train_subjects": ["Bob Smith", "Cid"], "test_subjects": ["Dan"]},
        **{"left_out": ["Eve: /home/ann/eve.nii.gz is damaged"], "fingerprint": "abc123"},
    },
    "versions": {"jax": "0.10.2"},
}
ANSWERS = [Answer("Like real slices?", "Not shown.", "KID 4 & 2 <here>.")]


def write(tmp_path, subjects=(2, 1), **changes):
    path = tmp_path / "MODEL_CARD.md"
    train, test = ({"slices": 99, "subjects": number} for number in subjects)
    evaluation = {"step": 2000, "synthetic": {"train": train, "test": test}}
    write_model_card(path, OPTIONS | changes, evaluation, ANSWERS, went_bad=True)
    return path.read_text()


def test_the_card_holds_data_licence_numbers_limits_and_use(tmp_path):
    card = write(tmp_path)
    assert "| Source | BraTS2021 |" in card
    assert "| Licence | CC BY 4.0 |" in card
    assert "| Trained on | 2 subjects |" in card
    assert "- **Like real slices?** Not shown. KID 4 & 2 <here>." in card
    assert "of the weights of step 2000" in card
    assert "- The run went bad:" in card
    assert "tested on 1 subject" in card
    assert "| Left out as unusable | 1 subject |" in card
    assert "| generator | unet |" in card
    assert "not for diagnosis" in card


def test_nobody_and_no_path_is_named(tmp_path):
    card = write(tmp_path)
    for private in ("Bob", "Cid", "Dan", "Eve", "/home"):
        assert private not in card


def test_what_is_not_stated_is_said_with_the_way_to_state_it(tmp_path):
    flags = OPTIONS["flags"] | {"data_dir": None, "data_licence": None}
    card = write(tmp_path, flags=flags)
    assert "not stated; `--data_licence`" in card
    assert "| Source | a phantom made by this program |" in card
    del flags["data_licence"]  # of a run from before there was that flag
    assert "not stated" in write(tmp_path, flags=flags)


def test_each_kind_of_model_has_its_own_uses(tmp_path):
    assert "from random numbers" in write(tmp_path, script="dcgan")
    assert "segmentation with few annotated" in write(tmp_path)


def test_how_little_was_tested_is_said(tmp_path):
    assert "With 3 subjects the intervals are rough" in write(tmp_path, (2, 3))
    assert "intervals are rough" not in write(tmp_path, (2, 30))
    unknown = write(tmp_path, (None, None))
    assert "perhaps one patient's" in unknown
    assert "| Trained on | 2 pictures |" in unknown
