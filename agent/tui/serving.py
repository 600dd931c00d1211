"""The terminal UI in a browser, through textual-serve.

There is no authentication: who reaches the page can do what the user can. So it listens on this machine alone unless told otherwise,
and takes only connections that come from its own page: a page of somebody else's, open in the same browser, could connect as well.
"""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from conservator.agent.errors import BackendMissingError, UsageError

if TYPE_CHECKING:
    from aiohttp import web
    from textual_serve.server import Server

__all__ = ["LOOPBACK", "make_server", "own_page", "serve"]

LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
_TEMPLATES: Final = Path(__file__).parent / "templates"


def serve(arguments: Sequence[str], *, host: str, port: int) -> None:
    """Serve the UI until Ctrl-C; each page gets a process of its own.

    Args:
        arguments: of `conservator tui` for those processes.
        host: address to listen on.
        port: port to listen on.

    Raises:
        BackendMissingError: textual-serve is not installed.
        UsageError: the port cannot be listened on.
    """
    _check_port(host, port)
    make_server(arguments, host=host, port=port).serve()


def make_server(arguments: Sequence[str], *, host: str, port: int) -> Server:
    """textual-serve's server, with a look at where a connection comes from.

    Raises:
        BackendMissingError: textual-serve is not installed.
    """
    try:
        from textual_serve.server import Server
    except ImportError as error:
        raise BackendMissingError(
            f"serving needs textual-serve ({error}); pip install textual-serve"
        ) from error

    class Guarded(Server):
        def initialize_logging(self) -> None:
            """Say what goes wrong, without the local variables of it."""
            logging.basicConfig(level="WARNING", format="%(message)s")

        async def on_startup(self, app: web.Application) -> None:
            """Say nothing; the caller has."""

        async def handle_index(self, request: web.Request) -> web.StreamResponse:
            """The page."""
            _refuse_strangers(request, self.host, self.port)
            return await super().handle_index(request)

        async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
            """The page's connection."""
            _refuse_strangers(request, self.host, self.port)
            return await super().handle_websocket(request)

    named = f"[{host}]" if ":" in host else host
    program = [sys.executable, "-m", "conservator.agent.cli.main", "tui", *arguments]
    return Guarded(
        shlex.join(program),
        host=host,
        port=port,
        title="Conservator",
        public_url=f"http://{named}:{port}",
        templates_path=str(_TEMPLATES),
    )


def own_page(host: str, port: int, *, asked: str, origin: str | None) -> bool:
    """Whether a connection comes from the served page.

    Args:
        host: the address that is listened on.
        port: the port.
        asked: the request's Host header.
        origin: the request's Origin header, None without one.
    """
    if origin is not None and urlsplit(origin).netloc != asked:
        return False
    if host not in LOOPBACK:
        return True
    # A name that somebody else's page has been given for this address is none of ours.
    parts = urlsplit(f"//{asked}")
    return parts.hostname in LOOPBACK and (parts.port or 80) == port


def _refuse_strangers(request: web.Request, host: str, port: int) -> None:
    from aiohttp import web

    asked = request.headers.get("Host", "")
    if not own_page(host, port, asked=asked, origin=request.headers.get("Origin")):
        raise web.HTTPForbidden(text="only the page itself may connect")


def _check_port(host: str, port: int) -> None:
    import socket

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another --port"
        ) from error
