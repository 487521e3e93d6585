"""The web application in which people consult a catalogue."""

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import numpy as np
from fastapi import Cookie, FastAPI, Form, Query
from fastapi import Path as InPath
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from pydantic import BaseModel, BeforeValidator, Field
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException

from brainsynth_jax.catalogue.catalogue import Catalogue
from brainsynth_jax.catalogue.exports.folder import export
from brainsynth_jax.catalogue.exports.formats import FORMATS, choose_format
from brainsynth_jax.catalogue.exports.selection import select
from brainsynth_jax.catalogue.filters import HALVES, Filter
from brainsynth_jax.catalogue.image_files import Pixels
from brainsynth_jax.catalogue.pages.links import ServerLinks
from brainsynth_jax.catalogue.pages.problems import answer_problems, serve_assets
from brainsynth_jax.catalogue.pages.render import (
    TUMOR_COLOURS,
    Shown,
    describe,
    list_choices,
    look_at,
    render,
)
from brainsynth_jax.catalogue.tables import MODELS, REVIEWS, ImageRow
from brainsynth_jax.data.pictures import encode_levels, encode_overlay
from brainsynth_jax.errors import UserError
from brainsynth_jax.evaluation.copies import VERDICTS

# (row, pixels) -> (S, S) uint8, the training slice that is most like it.
FindNearest = Callable[[ImageRow, Pixels], np.ndarray]

IMAGES_A_PAGE = 60

_LINKS = ServerLinks()
_MOST_EXPORTED = 5000
_FORMATS = {
    "png": "PNG and a table",
    "numpy": "NumPy",
    "nifti": "NIfTI (BIDS)",
    "brats": "NIfTI (BraTS), with masks",
    "dicom": "DICOM",
}

# What an id or a number of pixels may be, in any database.
_LARGEST = 2**31 - 1

Id = Annotated[int, InPath(ge=1, le=_LARGEST)]
_Empty = BeforeValidator(lambda value: None if value == "" else value)  # a field left empty
_Count = Annotated[Annotated[int, Field(ge=0, le=_LARGEST)] | None, _Empty]
_Score = Annotated[Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] | None, _Empty]
_Folder = Annotated[Annotated[str, Field(max_length=4096)] | None, _Empty]


class Wanted(BaseModel):
    """The form above the images, as it comes in an address."""

    model: Annotated[Literal[MODELS] | None, _Empty] = None
    run: _Folder = None
    verdict: Annotated[Literal[*VERDICTS, "unknown"] | None, _Empty] = None
    review: Annotated[Literal[*REVIEWS, "none"] | None, _Empty] = None
    least_realism: _Score = None
    least_tumor: _Count = None
    most_tumor: _Count = None
    place: Annotated[Literal[*HALVES] | None, _Empty] = None

    def to_filter(self) -> Filter:
        """As the catalogue takes it."""
        fields = self.to_fields()
        if verdict := fields.pop("verdict", None):
            fields["verdicts"] = [None if verdict == "unknown" else verdict]
        return Filter(**HALVES.get(fields.pop("place", None), {}), **fields)

    def to_fields(self) -> dict[str, Any]:
        """What is not empty, for addresses and forms."""
        return self.model_dump(include=set(Wanted.model_fields), exclude_none=True)


class Export(Wanted):
    """The form below the images: which of them are to leave, and in what format."""

    format: Literal[FORMATS]
    scope: Literal["chosen", "all"] = "chosen"
    image: Annotated[
        list[Annotated[int, Field(ge=1, le=_LARGEST)]], Field(max_length=IMAGES_A_PAGE)
    ] = []
    include_suspected_copies: bool = False


class Page(Wanted):
    """A page of the images that are wanted: those after a number, or the last before one."""

    after: Annotated[int, Field(ge=0, le=_LARGEST)] = 0
    before: _Count = None


def create_app(catalogue: Catalogue, find_nearest: FindNearest | None = None) -> FastAPI:
    """The application; `guard.Guard` belongs around it.

    Args:
        catalogue: that is shown.
        find_nearest: where real slices may be shown to who asks for them.
    """
    app = FastAPI(title="Synthetic images", docs_url=None, redoc_url=None)
    serve_assets(app)
    answer_problems(app, "problem.html")

    @app.get("/", response_class=HTMLResponse)
    def list_images(page: Annotated[Page, Query()]) -> str:
        """A page of images, and the form that chooses them."""
        wanted = page.to_filter()
        rows = catalogue.find(wanted, page.after, IMAGES_A_PAGE, page.before)
        earlier = later = None
        if rows and catalogue.find(wanted, before=rows[0].id, limit=1):
            earlier = _address("/", page, before=rows[0].id)
        if rows and catalogue.find(wanted, after=rows[-1].id, limit=1):
            later = _address("/", page, after=rows[-1].id)
        fields = page.to_fields()
        return render(
            "images.html",
            _LINKS,
            total=catalogue.count(wanted),
            images=[look_at(catalogue, row) for row in rows],
            form=page,
            filtered=bool(fields),
            fields=fields.items(),
            choices=list_choices(catalogue.runs()),
            formats=_FORMATS.items(),
            earlier=earlier,
            later=later,
        )

    @app.get("/images/{image_id}", response_class=HTMLResponse)
    def show_image(
        image_id: Id, nearest: bool = False, reviewer: Annotated[str, Cookie()] = ""
    ) -> str:
        """One image, large, with all that is known of it."""
        shown = _find(catalogue, image_id)
        before = catalogue.find(before=image_id, limit=1)
        after = catalogue.find(after=image_id, limit=1)
        can_compare = find_nearest is not None and shown.pixels is not None
        return render(
            "image.html",
            _LINKS,
            earlier=_LINKS.image(before[0].id) if before else None,
            later=_LINKS.image(after[0].id) if after else None,
            nearest=f"/images/{image_id}/nearest.png" if can_compare else None,
            nearest_shown=nearest,
            may_review=True,
            reviewer=reviewer[:100],
            **describe(shown, catalogue.name),
        )

    @app.get("/images/{image_id}/image.png", response_class=Response)
    def send_image(image_id: Id) -> Response:
        """The picture."""
        return _png(encode_levels(_read(catalogue, image_id).image))

    @app.get("/images/{image_id}/mask.png", response_class=Response)
    def send_mask(image_id: Id) -> Response:
        """Its tumour in colours, transparent elsewhere."""
        pixels = _read(catalogue, image_id)
        if pixels.mask is None:
            raise HTTPException(404, f"Image {image_id} has no mask.")
        return _png(encode_overlay(pixels.mask, TUMOR_COLOURS))

    @app.get("/images/{image_id}/nearest.png", response_class=Response)
    def send_nearest(image_id: Id) -> Response:
        """The training slice that is most like it."""
        if find_nearest is None:
            raise HTTPException(404, "Real slices are shown only by serve.py --show_real.")
        row = _find(catalogue, image_id).row
        return _png(encode_levels(find_nearest(row, _read(catalogue, image_id))))

    @app.post("/images/{image_id}/reviews", response_class=RedirectResponse, status_code=303)
    def add_review(
        image_id: Id,
        reviewer: Annotated[str, Form(max_length=100)],
        verdict: Annotated[Literal[REVIEWS], Form()],
        note: Annotated[str, Form(max_length=2000)] = "",
    ) -> RedirectResponse:
        """Adds a review, and shows the image again."""
        _find(catalogue, image_id)
        catalogue.review(image_id, reviewer, verdict, note)
        answer = RedirectResponse(_LINKS.image(image_id), 303)
        if reviewer.isascii() and reviewer.isprintable():  # cookies hold nothing else
            answer.set_cookie("reviewer", reviewer, samesite="strict")
        return answer

    @app.post("/export", response_class=FileResponse)
    def export_images(asked: Annotated[Export, Form()]) -> FileResponse:
        """The images that were chosen, as a .zip of what export.py writes."""
        wanted = Filter(numbers=[(image, image) for image in asked.image])
        if asked.scope == "all":
            wanted = asked.to_filter()
        elif not asked.image:
            raise UserError("No image is ticked. Tick some, or export all that are shown.")
        if (count := catalogue.count(wanted)) > _MOST_EXPORTED:
            raise UserError(
                f"These are {count:,} images, and a browser gets {_MOST_EXPORTED:,} at most. "
                f"Choose fewer, or: {_export_command(catalogue, asked)}"
            )
        form = choose_format(asked.format)
        selection = select(catalogue, wanted, asked.include_suspected_copies, form.needs_mask)
        place = TemporaryDirectory(prefix="synthetic-images-")
        try:
            folder = Path(place.name) / f"synthetic-{asked.format}"
            export(catalogue, selection, form, folder)
            archive = shutil.make_archive(str(folder), "zip", place.name, folder.name)
        except BaseException:
            place.cleanup()
            raise
        sent = BackgroundTask(place.cleanup)
        return FileResponse(archive, filename=f"{folder.name}.zip", background=sent)

    return app


def _export_command(catalogue: Catalogue, asked: Export) -> str:
    """What does on a command line what was asked for in a browser."""
    flags = {"database": catalogue.name, "output_dir": "FOLDER", "format": asked.format}
    words = [f"--{name}={value}" for name, value in (flags | asked.to_fields()).items()]
    if asked.include_suspected_copies:
        words.append("--include_suspected_copies")
    return shlex.join(["python", "experiments/export.py", *words])


def _find(catalogue: Catalogue, image_id: int) -> Shown:
    try:
        return look_at(catalogue, catalogue.get(image_id))
    except UserError as error:
        raise HTTPException(404, str(error)) from None


def _read(catalogue: Catalogue, image_id: int) -> Pixels:
    shown = _find(catalogue, image_id)
    if shown.pixels is None:
        raise HTTPException(410, shown.problem)
    return shown.pixels


def _png(content: bytes) -> Response:
    return Response(content, media_type="image/png")


def _address(path: str, page: Page, **place: int) -> str:
    return f"{path}?{urlencode(page.to_fields() | place)}"
