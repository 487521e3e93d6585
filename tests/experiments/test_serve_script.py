"""The scripts that show a catalogue, and a study of it, in a browser: from a run to an analysis."""

import json
import re
import signal
import urllib.error
import urllib.parse
import urllib.request

import numpy as np
import pytest
from run_checks import assert_refused

from brainsynth_jax.catalogue.reader_study.study import REAL, SYNTHETIC, load_key, open_study

OTHER = {REAL: SYNTHETIC, SYNTHETIC: REAL}


@pytest.fixture(scope="module")
def made(run, finished_run, tmp_path_factory):
    """A catalogue of a CycleGAN's pairs: --database, and the run."""
    database = tmp_path_factory.mktemp("catalogue") / "made.sqlite"
    where = (f"--workdir={finished_run[0]}", f"--database={database}")
    finished = run("generate", *where, "--count=8")
    assert finished.status == 0, finished.error
    return f"--database={database}", finished_run[0]


@pytest.fixture
def serve(start, cache_dir):
    """serve(script, *flags): the address that it printed; it is stopped at the end."""
    running = []

    def serve(script, *flags, cache=None):
        process = start(script, *flags, "--port=0", cache=cache)
        running.append(process)
        for line in process.stdout:
            if found := re.match(r"Open (http://\S+)", line):
                return found[1]
        pytest.fail(process.stderr.read())

    yield serve
    for process in running:
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
        assert "Traceback" not in error


def fetch(address, path="", form=None):
    """What the server says to who has the address that it printed."""
    address, _, token = address.partition("?token=")
    data = urllib.parse.urlencode(form).encode() if form else None
    asked = urllib.request.Request(address + path, data, {"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(asked, timeout=60) as answer:
        return answer.read()


def test_a_catalogue_is_served_with_the_nearest_real_slice_for_who_asks(serve, made, cache_dir):
    address = serve("serve", made[0], "--show_real", cache=cache_dir)
    assert b"8 images" in fetch(address)
    assert b"cyclegan-ba" in fetch(address)
    assert fetch(address, "images/1/image.png").startswith(b"\x89PNG")
    assert fetch(address, "images/1/nearest.png").startswith(b"\x89PNG")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "0.0.0.0"])
def test_nobody_comes_in_without_the_token(serve, made, host):
    address = serve("serve", made[0], f"--host={host}")
    bare, _, token = address.partition("?token=")
    if host == "0.0.0.0":  # then it says what the machine is called
        bare = f"http://127.0.0.1:{urllib.parse.urlsplit(bare).port}/"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        fetch(bare)
    assert b"8 images" in fetch(f"{bare}?token={token}")


def test_pages_without_a_server(run, made, tmp_path):
    folder = tmp_path / "pages"
    finished = run("serve", made[0], f"--static={folder}", cache=None)
    assert finished.status == 0, finished.error
    assert "8 images" in (folder / "index.html").read_text()
    assert str(folder / "index.html") in finished.out
    again = run("serve", made[0], f"--static={folder}", cache=None)
    assert_refused(again, str(folder), "nothing is overwritten")


def test_what_cannot_be_served_is_refused(run, serve, made, tmp_path):
    missing = run("serve", f"--database={tmp_path / 'no.sqlite'}", cache=None)
    assert_refused(missing, "no.sqlite", "not there", "generate.py")
    port = urllib.parse.urlsplit(serve("serve", made[0])).port
    assert_refused(
        run("serve", made[0], f"--port={port}", cache=None), f"--port={port}", "--port=0"
    )
    assert_refused(run("serve", made[0], "--model=dcgan", cache=None), "--model", "--static only")
    assert_refused(run("serve", made[0], "--token=a+b", cache=None), "--token", "8 to 200")
    shared = run("serve", "--database=postgresql+psycopg://nobody@127.0.0.1:1/no", cache=None)
    assert_refused(shared, "--image_dir")


def test_the_exported_pairs_are_taken_by_the_trainer(run, made, tmp_path):
    folder = tmp_path / "brats"
    finished = run("export", made[0], "--format=brats", f"--output_dir={folder}", cache=None)
    assert finished.status == 0, finished.error
    flags = ("--image_size=32", "--width=2", "--generator=resnet", "--min_tumor_area_pixels=1")
    finished = run("cyclegan", f"--data_dir={folder}", "--preset=demo", *flags, "--dry_run")
    assert finished.status == 0, finished.error
    assert "SYN-000001" in finished.out


def test_a_study_from_the_catalogue_to_the_analysis(run, serve, made, tmp_path, cache_dir):
    folder = tmp_path / "study"
    finished = run("reader_study", "create", made[0], f"--study={folder}", "--count=12")
    assert finished.status == 0, finished.error
    study = open_study(folder)
    truth = load_key(study)
    assert sorted(truth.values()) == ["real"] * 6 + ["synthetic"] * 6
    (folder / "key.json").rename(tmp_path / "key.json")

    address = serve("reader_study", "serve", f"--study={folder}")
    rng = np.random.default_rng(0)
    for reader, skill in (("Ann", 1.0), ("Bob", 0.5)):
        for _ in range(study.count):
            page = fetch(address, f"read?reader={reader}").decode()
            number = int(re.search(r'name="number" value="(\d+)"', page)[1])
            shown_at = float(re.search(r'name="shown_at" value="([^"]+)"', page)[1]) - 2
            says = truth[number] if rng.random() < skill else OTHER[truth[number]]
            form = {"reader": reader, "number": number, "answer": f"{says}-4", "shown_at": shown_at}
            fetch(address, "answers", form)
        assert "Thank you" in fetch(address, f"read?reader={reader}").decode()

    where = ("analyse", f"--study={folder}")
    assert_refused(run("reader_study", *where), "key.json")
    finished = run("reader_study", *where, f"--key={tmp_path / 'key.json'}")
    assert finished.status == 0, finished.error
    assert str(folder / "analysis.html") in finished.out
    analysis = json.loads((folder / "analysis.json").read_text())
    assert analysis["readers"]["Ann"]["accuracy"]["share"] == 1
    assert analysis["readers"]["Bob"]["accuracy"]["share"] < 1


def test_what_is_no_study_is_refused(run, made, tmp_path):
    assert_refused(run("reader_study"), "size, create, serve, analyse", "needed first")
    assert_refused(run("reader_study", "draw"), "'draw'")
    assert_refused(run("reader_study", "serve"), "--study is needed")
    assert_refused(run("reader_study", "serve", f"--study={tmp_path}"), "study.json", "not there")
    where = ("reader_study", "create", made[0], f"--study={tmp_path / 'study'}")
    assert_refused(run(*where, "--count=5000"), "--count=5000 needs 2500", "8 synthetic ones", "16")
    assert_refused(run(*where, "--count=7"), "--count=7", "even")
    assert_refused(run("reader_study", "size", "--count=8"), "--count", "size does not go by it")
    assert_refused(run(*where, "--verdict=suspicious"), "No synthetic image")


def test_the_size_of_a_study_is_told(run):
    finished = run("reader_study", "size", "--accuracy=0.6")
    assert finished.status == 0
    assert "204 slices" in finished.out
