"""The flags of scripts that a browser talks to, and the server behind them."""

import ipaddress
import re
import secrets
import socket
from importlib import import_module
from typing import Any

from command_line import FLAGS, FlagGroup

from brainsynth_jax.errors import UserError

_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")
_WILDCARDS = ("0.0.0.0", "::")


def define_server_flags() -> None:
    """Where the server listens, and for whom."""
    group = FlagGroup("Server")
    group.string("host", "127.0.0.1", "Address to listen on; 0.0.0.0 for all of this machine.")
    group.integer("port", 8765, "Port to listen on; 0 for any that is free.", 0, 65535)
    group.string(
        "token",
        None,
        "What a browser has to show, 8 or more letters and digits. Without it: one is made up. The "
        "address that is printed holds it.",
    )


def import_pages() -> None:
    """Raises UserError where the packages that pages need are not installed."""
    try:
        for name in ("fastapi", "python_multipart", "uvicorn"):
            import_module(name)
    except ImportError as error:
        raise UserError(
            f"Pages need {error.name}, which is not installed: pip install -e '.[pages]'"
        ) from None


def serve(app: Any) -> None:
    """Answers browsers until it is stopped.

    Args:
        app: an ASGI application.

    Raises:
        UserError: the address cannot be listened on.
    """
    import uvicorn

    from brainsynth_jax.catalogue.pages.guard import Guard

    is_own, token = _is_loopback(FLAGS.host), _choose_token()
    with _listen(FLAGS.host, FLAGS.port) as listening:
        port = listening.getsockname()[1]
        name = socket.gethostname() if FLAGS.host in _WILDCARDS else FLAGS.host
        shown = f"[{name}]" if ":" in name else name
        print(f"Open http://{shown}:{port}/?token={token}", flush=True)
        if not is_own:
            print(
                "Nothing is encrypted on the way: use it in a network that you trust. Else leave "
                f"--host out, and from your own machine: ssh -L {port}:127.0.0.1:{port} HERE",
                flush=True,
            )
        print("Ctrl-C ends it.", flush=True)
        guarded = Guard(app, (*_LOOPBACK_NAMES, FLAGS.host) if is_own else ("*",), token)
        config = uvicorn.Config(guarded, log_level="warning", lifespan="off", server_header=False)
        uvicorn.Server(config).run(sockets=[listening])


def _choose_token() -> str:
    if FLAGS.token is None:
        return secrets.token_urlsafe(16)
    if not re.fullmatch(r"[A-Za-z0-9_-]{8,200}", FLAGS.token):
        raise UserError(
            "--token: 8 to 200 letters from A to z, digits, - and _ are needed, for it stands in "
            "an address. Leave it out to have one made up."
        )
    return FLAGS.token


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen()
    except OSError as error:
        listening.close()
        raise UserError(
            f"--host={host} --port={port} cannot be listened on ({error.strerror or error}). "
            "Choose another port, --port=0 for any that is free."
        ) from error
    return listening
