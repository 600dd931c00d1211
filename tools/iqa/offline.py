"""What lies on this disk, and the guard that keeps metrics from fetching the rest."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import socket
import threading
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from conservator.restorers.errors import BackendMissingError
from conservator.tools.iqa.card import MetricCard

__all__ = ["hub_folder", "no_network", "what_is_missing"]

_NAMED_HASH = re.compile(r"-([0-9a-f]{8})\.pth$")
_KNOWN_HASHES = {"clip/RN50.pt": "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762"}


def hub_folder() -> Path:
    """The folder that torch.hub, and with it pyiqa, keeps its downloads in."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("TORCH_HOME", str(Path(cache) / "torch"))
    return Path(home).expanduser() / "hub"


def _hugging_face_folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("HF_HOME", str(Path(cache) / "huggingface"))
    return Path(os.environ.get("HF_HUB_CACHE", str(Path(home) / "hub"))).expanduser()


@lru_cache(maxsize=32)
def _sha256(path: Path, size: int, changed_ns: int) -> str:
    """Checksum of a file; size and time of change are there so that a replaced file is read again."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fault_of(name: str) -> str:
    """Why the weight file `name` cannot be used; "" when it can."""
    if name.startswith("hf:"):
        repository = _hugging_face_folder() / ("models--" + name[3:].replace("/", "--"))
        held = any(repository.glob("snapshots/*/model.safetensors"))
        return "" if held else f"{name[3:]} is not in the Hugging Face cache {repository.parent}"
    path = hub_folder() / name
    if not path.is_file():
        return f"{path.name} is not in {path.parent}"
    named = _NAMED_HASH.search(name)
    expected = _KNOWN_HASHES.get(name) or (named.group(1) if named else "")
    status = path.stat()
    if expected and not _sha256(path, status.st_size, status.st_mtime_ns).startswith(expected):
        return f"{path} does not have the checksum its name promises; delete it"
    return ""


def what_is_missing(card: MetricCard) -> str:
    """Why `card` cannot run offline, in one line; "" when everything it needs is on disk."""
    faults = [fault for fault in map(_fault_of, card.needs_weights) if fault]
    if not faults:
        return ""
    return f"{card.name} needs weights that are not shipped: {'; '.join(faults)}"


_GUARD = threading.RLock()


@contextlib.contextmanager
def no_network(what: str) -> Iterator[None]:
    """Refuse every connection that the calling thread tries to open; other threads are left alone.

    pyiqa fetches whatever it lacks without asking, through urllib, requests, torch.hub and huggingface_hub. All
    of them end in a name look-up and a socket's `connect`, so this is where the refusal sits. Meanwhile
    `torch.load` reads tensors only: pyiqa asks it to unpickle whatever a file holds.

    Raises:
        BackendMissingError: something in the body tried to reach the network.
    """
    import torch

    thread = threading.get_ident()
    look_up, connect, load = socket.getaddrinfo, socket.socket.connect, torch.load

    def refuse() -> None:
        if threading.get_ident() == thread:
            raise BackendMissingError(
                f"{what} tried to download something; nothing is fetched without being asked for"
            )

    def guarded_look_up(*args: Any, **kwargs: Any) -> Any:
        refuse()
        return look_up(*args, **kwargs)

    def guarded_connect(self: socket.socket, address: Any) -> None:
        refuse()
        connect(self, address)

    def tensors_only(*args: Any, **kwargs: Any) -> Any:
        return load(*args, **{**kwargs, "weights_only": True})

    with _GUARD, contextlib.ExitStack() as undo:
        for owner, name, guard in (
            (socket, "getaddrinfo", guarded_look_up),
            (socket.socket, "connect", guarded_connect),
            (torch, "load", tensors_only),
        ):
            undo.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, guard)
        yield
