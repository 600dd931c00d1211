"""Servers on this machine are asked directly; others through the proxy of the environment."""

from __future__ import annotations

from urllib.parse import urlsplit
from urllib.request import OpenerDirector, ProxyHandler, build_opener

__all__ = ["loopback", "opener"]


def loopback(url: str) -> bool:
    """Whether a server is on this machine: no proxy leads there."""
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")


def opener(url: str) -> OpenerDirector:
    """What opens addresses of this server."""
    return build_opener(ProxyHandler({})) if loopback(url) else build_opener()
