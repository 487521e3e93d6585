"""Whatever is sent to the applications, by their own descriptions of themselves, none breaks."""

import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from made_images import ORIGIN, add, make_image
from schemathesis.checks import not_a_server_error

from brainsynth_jax.catalogue.catalogue import Catalogue
from brainsynth_jax.catalogue.pages.app import create_app
from brainsynth_jax.catalogue.pages.guard import Guard
from brainsynth_jax.catalogue.pages.study_app import create_study_app
from brainsynth_jax.catalogue.reader_study.study import (
    RealSource,
    Sources,
    SyntheticSource,
    create_study,
)

NEGATIVE = schemathesis.GenerationMode.NEGATIVE
CASES = settings(
    max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), database=None
)


def describe(app):
    """An application as it is served: behind its guard."""
    return schemathesis.openapi.from_asgi("/openapi.json", Guard(app, ("*",), None))


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("catalogue")
    catalogue = Catalogue(f"sqlite:///{folder}/made.sqlite", folder / "images")
    add(catalogue, [make_image(0, realism=1.0), make_image(1, masked=True, tumor_pixels=3)])
    origin = ORIGIN._replace(model="cyclegan-ba")
    add(catalogue, [make_image(2, masked=True)], origin)
    (altered,) = catalogue.folder.glob("*/0/000001.png")
    altered.write_bytes(b"")
    app = create_app(catalogue, lambda row, pixels: pixels.image)
    yield describe(app)
    catalogue.close()


@pytest.fixture(scope="module")
def study_pages(tmp_path_factory):
    rng = np.random.default_rng(0)
    real, synthetic = rng.integers(0, 256, (2, 2, 16, 16), np.uint8)
    sources = Sources([RealSource("a" * 64, 0)] * 2, [SyntheticSource(1, "b" * 64)] * 2)
    folder = tmp_path_factory.mktemp("studies") / "study"
    study = create_study(folder, real, synthetic, sources, 4, 0, "Gliomas")
    return describe(create_study_app(study))


def send_anything(schema):
    """Sends what the description allows and what it forbids to each of the paths."""
    for found in schema.get_all_operations():
        operation = found.ok()

        @CASES
        @given(case=operation.as_strategy() | operation.as_strategy(generation_mode=NEGATIVE))
        def send(case):
            case.call_and_validate(checks=[not_a_server_error])

        send()


def test_no_request_breaks_the_pages(pages):
    send_anything(pages)


def test_no_request_breaks_a_study(study_pages):
    send_anything(study_pages)
