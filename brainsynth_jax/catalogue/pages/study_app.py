"""The web application in which readers take part in a study."""

import time
from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import FastAPI, Form, Query
from fastapi import Path as InPath
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from brainsynth_jax.catalogue.pages.links import ServerLinks
from brainsynth_jax.catalogue.pages.problems import answer_problems, serve_assets
from brainsynth_jax.catalogue.pages.render import render
from brainsynth_jax.catalogue.reader_study.answers import (
    LONGEST_SECONDS,
    answers_by,
    clean_reader,
    next_slice,
    record_answer,
)
from brainsynth_jax.catalogue.reader_study.study import (
    CALLS,
    MOST_CONFIDENT,
    Study,
    slice_path,
)

_LINKS = ServerLinks()
# In less nobody has looked: a second click went through to the next slice.
_LEAST_SECONDS = 0.3

# One scale from certainly real to certainly synthetic, by the keys of a keyboard's upper row.
_SURE = {5: "certainly", 4: "very likely", 3: "likely", 2: "perhaps", 1: "a guess"}
_SCALE = [
    ("Real", [(f"real-{sure}", words, 6 - sure) for sure, words in _SURE.items()]),
    (
        "Synthetic",
        [(f"synthetic-{sure}", _SURE[sure], (5 + sure) % 10) for sure in sorted(_SURE)],
    ),
]

_Reader = Annotated[str, Query(min_length=1, max_length=200)]
_Number = Annotated[int, InPath(ge=1, le=9999)]
_Answer = Literal[tuple(f"{call}-{n}" for call in CALLS for n in range(1, MOST_CONFIDENT + 1))]


def create_study_app(study: Study) -> FastAPI:
    """The application; `guard.Guard` belongs around it. It never looks at the study's key."""
    app = FastAPI(title="Reader study", docs_url=None, redoc_url=None)
    serve_assets(app)
    answer_problems(app, "study_problem.html", study=study)

    @app.get("/", response_class=HTMLResponse)
    def start() -> str:
        """What a reader is asked to do."""
        return render("study_start.html", _LINKS, study=study)

    @app.get("/read", response_class=HTMLResponse)
    def read(reader: _Reader) -> str:
        """The reader's next slice."""
        reader = clean_reader(reader)
        number = next_slice(study, reader)
        if number is None:
            return render("study_end.html", _LINKS, study=study, reader=reader)
        return render(
            "study_read.html",
            _LINKS,
            study=study,
            reader=reader,
            number=number,
            answered=len(answers_by(study, reader)),
            shown_at=time.time(),
            scale=_SCALE,
        )

    @app.get("/slices/{number}.png", response_class=Response)
    def send_slice(number: _Number) -> Response:
        """A slice; all of them are of one size in bytes."""
        path = slice_path(study, number)
        if not path.is_file():
            return Response("There is no such slice.", 404)
        return Response(path.read_bytes(), media_type="image/png")

    @app.post("/answers", response_class=RedirectResponse, status_code=303)
    def answer(
        reader: Annotated[str, Form(max_length=200)],
        number: Annotated[int, Form(ge=1, le=9999)],
        answer: Annotated[_Answer, Form()],
        shown_at: Annotated[float, Form(allow_inf_nan=False)],
    ) -> RedirectResponse:
        """Keeps an answer and goes on.

        A second one to the same slice, by two clicks, is left, and one that came before the slice
        was seen: it is shown again.
        """
        says, _, confidence = answer.rpartition("-")
        seconds = min(time.time() - shown_at, LONGEST_SECONDS)
        known = {before.number for before in answers_by(study, reader)}
        if seconds >= _LEAST_SECONDS and number not in known:
            record_answer(study, reader, number, says, int(confidence), seconds)
        return RedirectResponse(f"/read?{urlencode({'reader': clean_reader(reader)})}", 303)

    return app
