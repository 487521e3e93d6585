"""What tests of runs look at: their records, their checkpoints, what they say."""

import json
import re
import time
from pathlib import Path

import jax
import jsonschema
import numpy as np
import orbax.checkpoint as ocp

ROOT = Path(__file__).parents[2]
EXPERIMENTS = ROOT / "experiments"
SCHEMA = ROOT / "brainsynth_jax/evaluation/evaluation_schema.json"


OF_THE_MACHINE = {
    "seconds_per_step",
    "seconds_waiting",
    "peak_memory_mib",
}  # differ between equal runs


def read_records(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    return [{k: v for k, v in record.items() if k not in OF_THE_MACHINE} for record in records]


def checkpoint_steps(workdir):
    return sorted(int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdigit())


def load_state(workdir, step):
    folder = workdir.absolute() / "checkpoints" / str(step) / "default"
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])  # wherever it was saved
    with ocp.StandardCheckpointer() as checkpointer:
        stored = checkpointer.metadata(folder).item_metadata.tree
        target = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here), stored
        )
        return jax.tree_util.tree_leaves_with_path(checkpointer.restore(folder, target))


def assert_same_run(workdir, other, step):
    for (path, ours), (_, theirs) in zip(
        load_state(workdir, step), load_state(other, step), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs, err_msg=jax.tree_util.keystr(path))
    assert read_records(workdir) == read_records(other)


def wait_for(condition, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def assert_refused(finished, *words):
    """It ended in one sentence that holds all the words."""
    assert finished.status == 2, finished.out + finished.error
    assert "Traceback" not in finished.error
    _, found, message = finished.error.partition("\nerror: ")
    assert found
    for word in words:
        assert word in message


def assert_fits_schema(evaluation):
    """As evaluation_schema.json, by the part for its kind of run: then errors name a key."""
    schema = json.loads(SCHEMA.read_text())
    (part,) = (
        one for one in schema["oneOf"] if one["properties"]["kind"]["const"] == evaluation["kind"]
    )
    jsonschema.Draft202012Validator({**part, "$defs": schema["$defs"]}).validate(evaluation)


def assert_every_flag_is_explained(script, shown_help):
    """Each flag, as the script defines it, is there with its default and its range."""
    shown = re.split(r"\n  --", shown_help)[1:]
    source = (EXPERIMENTS / f"{script}.py").read_text()
    defined = re.findall(r"^\w+\.(string|integer|number|choice|switch)\(\s*\"(\w+)", source, re.M)
    assert [re.match(r"\w+", flag)[0] for flag in shown] == [name for _, name in defined]
    for flag, (kind, _) in zip(shown, defined, strict=True):
        text = " ".join(flag.split())
        assert "default: " in text
        if kind in ("integer", "number"):
            assert re.search(r"\(\S+ (or more|to \S+); default", text), text
