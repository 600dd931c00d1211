"""Addresses of servers: what counts as one, and the way there. Those on this machine are asked directly, others through a proxy."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit
from urllib.request import OpenerDirector, ProxyHandler, build_opener

from conservator.restorers.errors import UsageError

__all__ = ["is_url", "loopback", "opener", "server_address"]


def is_url(text: str) -> bool:
    """Whether a text is meant as an address."""
    return text.strip().lower().startswith(("http://", "https://"))


def server_address(url: str) -> SplitResult:
    """The parts of a server's address.

    Raises:
        UsageError: it is no http address.
    """
    parts = urlsplit(url.strip())
    try:
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise UsageError(f"{url!r} is no address of a server; give one like http://127.0.0.1:8000")
    return parts


def loopback(url: str) -> bool:
    """Whether a server is on this machine: no proxy leads there."""
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")


def opener(url: str) -> OpenerDirector:
    """What opens addresses of this server."""
    return build_opener(ProxyHandler({})) if loopback(url) else build_opener()
