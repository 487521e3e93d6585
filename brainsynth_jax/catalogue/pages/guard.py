"""Who may ask the server for anything, and how much.

Each guard is an ASGI application around another one.
"""

import hashlib
import secrets
from urllib.parse import parse_qs, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# A review's note takes 2,000 characters; a selection of 100,000 images is made by a filter.
LARGEST_BODY = 2**18

_COOKIE_SECONDS = 30 * 24 * 3600
_CHANGES = {"POST", "PUT", "PATCH", "DELETE"}

# Nothing is loaded from elsewhere, nothing shown inside another page, and nothing kept.
_SECURITY = {
    "content-security-policy": "default-src 'self'; img-src 'self' data:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """Refuses strangers and what is too large.

    Args:
        app: that is guarded.
        hosts: names that a browser may have called the server by, without ports; "*" for any. Else
            somebody's page could point a name of its own here, and read what it gets.
        token: that a browser has to show once, by `?token=`; None where nobody needs one.
    """

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...], token: str | None) -> None:
        self._app = app
        self._hosts = hosts
        self._token = token
        # Of several servers on one host, which share all cookies, each has one of its own.
        self._cookie = "brainsynth_" + hashlib.sha256((token or "").encode()).hexdigest()[:8]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers itself, or lets the application answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        answer = (
            self._check_host(headers)
            or self._check_token(scope, headers)
            or _check_origin(scope, headers)
            or _check_length(headers)
        )
        await (answer or self._app)(scope, _limited(receive), _secured(send))

    def _check_host(self, headers: Headers) -> Response | None:
        name = urlsplit(f"//{headers.get('host', '')}").hostname
        if "*" in self._hosts or name in self._hosts:
            return None
        return HTMLResponse("<h1>400</h1>This server is not called so.", 400)

    def _check_token(self, scope: Scope, headers: Headers) -> Response | None:
        if self._token is None:
            return None
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        asked = query.pop("token", [""])[0]
        cookie = cookie_parser(headers.get("cookie", "")).get(self._cookie, "")
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        if self._is_right(cookie) or self._is_right(bearer):
            return None
        if not self._is_right(asked):
            return HTMLResponse(
                "<h1>401</h1>Open the address that the server printed when it started, with its "
                "?token=.",
                401,
                {"www-authenticate": "Bearer"},
            )
        # The token leaves the address, which stays in histories and is shown to those who look on.
        way = scope["path"] + (f"?{urlencode(query, doseq=True)}" if query else "")
        answer = RedirectResponse("/" + way.lstrip("/\\"), 303)
        answer.set_cookie(
            self._cookie, self._token, _COOKIE_SECONDS, httponly=True, samesite="strict"
        )
        return answer

    def _is_right(self, given: str) -> bool:
        return secrets.compare_digest(given.encode("utf-8", "replace"), self._token.encode())


def _check_origin(scope: Scope, headers: Headers) -> Response | None:
    """A form on somebody else's page may not change anything here."""
    origin = headers.get("origin")
    if scope["method"] not in _CHANGES or origin is None:
        return None
    if origin.partition("://")[2] == headers.get("host"):
        return None
    return HTMLResponse("<h1>403</h1>This was sent by another page than this server's.", 403)


def _check_length(headers: Headers) -> Response | None:
    length = headers.get("content-length", "0")
    if length.isdecimal() and int(length) <= LARGEST_BODY:
        return None
    return HTMLResponse(f"<h1>413</h1>At most {LARGEST_BODY:,} bytes are taken.", 413)


def _limited(receive: Receive) -> Receive:
    """Ends a request that sends more than it may, and had not said so."""
    received = 0

    async def limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        return {"type": "http.disconnect"} if received > LARGEST_BODY else message

    return limited


def _secured(send: Send) -> Send:
    async def secured(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _SECURITY.items():
                headers.setdefault(name, value)
        await send(message)

    return secured
