"""What the web applications share: their assets, and whatever goes wrong told on a page."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from brainsynth_jax.catalogue.pages.links import ServerLinks
from brainsynth_jax.catalogue.pages.render import ASSETS, render
from brainsynth_jax.errors import UserError


def serve_assets(app: FastAPI) -> None:
    """Answers for the stylesheet and the script."""
    app.mount("/assets", StaticFiles(directory=ASSETS), name="assets")


def answer_problems(app: FastAPI, template: str, **context: Any) -> None:
    """Answers what cannot be done with a page that says why.

    Args:
        app: whose problems they are.
        template: shows `status` and `message`.
        context: what else it needs.
    """

    def tell(status: int, message: str, headers: Any = None) -> HTMLResponse:
        page = render(template, ServerLinks(), status=status, message=message, **context)
        return HTMLResponse(page, status, headers)

    @app.exception_handler(HTTPException)
    def answer_http(request: Request, error: HTTPException) -> HTMLResponse:
        return tell(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    def answer_invalid(request: Request, error: RequestValidationError) -> HTMLResponse:
        return tell(422, ". ".join(f"{each['loc'][-1]}: {each['msg']}" for each in error.errors()))

    @app.exception_handler(OSError)
    def answer_system(request: Request, error: OSError) -> HTMLResponse:
        return tell(507, f"The server could not do it ({error.strerror}). Is its disk full?")

    @app.exception_handler(UserError)
    def answer_user(request: Request, error: UserError) -> HTMLResponse:
        return tell(409, str(error))
