"""Weights on disk: safetensors only, verified by sha256, strict, offline unless told otherwise.

Files are stored in float16 and come back in float32. A file is written beside its place as `.part` and renamed when it
is complete, so that a reader never meets half a file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from conservator.restorers.card import RestorerCard
from conservator.restorers.errors import BackendMissingError, UnknownNameError, WeightsError

__all__ = [
    "PACKAGED",
    "apply_weights",
    "checksum",
    "configured_weights",
    "load_weights",
    "locate_weights",
    "metadata_of",
    "save_weights",
]

PACKAGED: Final = Path(__file__).parent
"""The folder of the weights that ship with the package."""

_HUB: Final = "hf://"
_CHUNK: Final = 1 << 20
_PICKLE_STARTS: Final = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def checksum(path: Path) -> str:
    """The sha256 of a file, hex, read in pieces of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def locate_weights(source: str | Path, *, allow_download: bool = False) -> Path:
    """Turn a path or `hf://owner/repository/file.safetensors` into a file on this machine.

    Args:
        source: where the weights are.
        allow_download: fetch from the hub what is not in its local cache yet.

    Raises:
        WeightsError: no such file, or a hub address that does not parse or does not answer.
        BackendMissingError: a hub file that is not cached while downloads are off, or huggingface_hub is missing.
    """
    text = str(source)
    if text.startswith(_HUB):
        return _from_hub(text, allow_download=allow_download)
    path = Path(source)
    if not path.is_file():
        raise WeightsError(f"no weights file at {path}; give a .safetensors file that exists")
    return path


def _from_hub(address: str, *, allow_download: bool) -> Path:
    parts = address.removeprefix(_HUB).split("/", 2)
    if len(parts) != 3 or not all(parts):
        raise WeightsError(
            f"{address!r} is no hub address; write hf://owner/repository/file.safetensors"
        )
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError:
        raise BackendMissingError(
            f"{address} needs huggingface_hub; install it with: pip install huggingface_hub"
        ) from None
    try:
        return Path(
            hf_hub_download(f"{parts[0]}/{parts[1]}", parts[2], local_files_only=not allow_download)
        )
    except LocalEntryNotFoundError:
        remedy = (
            "the hub cannot be reached; download the file by hand and give its path"
            if allow_download
            else "downloads are off; allow them (allow_download=True) or give a local file"
        )
        raise BackendMissingError(f"{address} is not on this machine and {remedy}") from None
    except (HfHubHTTPError, ValueError, OSError) as error:
        raise WeightsError(f"{address} could not be fetched: {_first_line(error)}") from error


def load_weights(path: str | Path, sha256: str | None = None) -> dict[str, torch.Tensor]:
    """Read a safetensors file; float16 and bfloat16 tensors become float32.

    Args:
        path: a local file.
        sha256: the checksum it must have, hex; None trusts the file.

    Raises:
        WeightsError: missing, altered, truncated, or not safetensors. Nothing is ever unpickled.
    """
    path = locate_weights(path)
    try:
        if sha256 is not None and (found := checksum(path)) != sha256.lower():
            raise WeightsError(
                f"{path} has sha256 {found[:12]}..., expected {sha256[:12]}...; it is corrupted or another "
                f"version: fetch it again"
            )
        state = load_file(path)
    except (SafetensorError, ValueError, OSError) as error:
        with path.open("rb") as file:
            pickled = file.read(4).startswith(_PICKLE_STARTS)
        what = "is a pickle, which may run code: convert it to safetensors"
        if not pickled:
            what = f"is truncated or no safetensors file ({_first_line(error)}): fetch it again"
        raise WeightsError(f"{path} {what}") from error
    halves = (torch.float16, torch.bfloat16)
    return {name: t.float() if t.dtype in halves else t for name, t in state.items()}


def metadata_of(path: Path) -> dict[str, str]:
    """The facts that were saved with the weights.

    Raises:
        WeightsError: missing, truncated, or not safetensors.
    """
    try:
        with safe_open(path, "pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} does not read: {error}; fetch it again") from error


def configured_weights(
    card: RestorerCard, configuration: str, weights_path: str | Path | None = None
) -> dict[str, torch.Tensor]:
    """The weights of one configuration: the user's file when given, else the packaged and verified one.

    Raises:
        UnknownNameError: the card has no such configuration.
        WeightsError: nothing is packaged and no path is given, or the file does not load.
    """
    if configuration not in card.configurations:
        known = tuple(card.configurations)
        raise UnknownNameError(f"configuration of {card.name}", configuration, known)
    if weights_path is not None:
        return load_weights(weights_path)
    chosen = card.configurations[configuration]
    if chosen.weights is None:
        raise WeightsError(
            f"{card.name} ships no weights for {configuration!r}; train them and give their path"
        )
    return load_weights(PACKAGED / chosen.weights, chosen.sha256)


def apply_weights(module: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Copy weights into a module; every name and shape must match.

    Raises:
        WeightsError: names the missing, unexpected and misshapen tensors; the module is then unchanged.
    """
    own = module.state_dict()
    missing = [name for name in own if name not in state]
    unexpected = [name for name in state if name not in own]
    misshapen = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    wrong = [
        f"{label} {_some(names)}"
        for label, names in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("misshapen", misshapen),
        )
        if names
    ]
    if wrong:
        raise WeightsError(
            f"weights do not fit {type(module).__name__}: {'; '.join(wrong)}; "
            f"use the file that belongs to this configuration"
        )
    module.load_state_dict(dict(state), strict=True)


def save_weights(
    module_or_state: nn.Module | Mapping[str, torch.Tensor],
    path: str | Path,
    metadata: Mapping[str, str] | None = None,
) -> str:
    """Write weights as float16 safetensors, atomically, and return the file's sha256.

    Args:
        module_or_state: floating-point tensors are rounded to float16, others kept as they are.
        path: the file to write; an existing one is replaced when the new one is complete.
        metadata: text kept in the file's header (training set, git revision, ...).

    Raises:
        WeightsError: a tensor is not finite in float16, or the place cannot be written.
    """
    state = (
        module_or_state.state_dict()
        if isinstance(module_or_state, nn.Module)
        else dict(module_or_state)
    )
    stored = {}
    for name, tensor in state.items():
        # A copy each: safetensors refuses tensors that share memory, as tied weights do.
        tensor = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        if tensor.is_floating_point():
            tensor = tensor.half()
            if not bool(torch.isfinite(tensor).all()):
                raise WeightsError(f"{name} is not finite in float16; do not save diverged weights")
        stored[name] = tensor
    path = Path(path)
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(stored, part, metadata=dict(metadata or {}))
        digest = checksum(part)
        part.replace(path)
    except (SafetensorError, OSError) as error:
        part.unlink(missing_ok=True)
        raise WeightsError(f"cannot write weights to {path}: {_first_line(error)}") from error
    return digest


def _some(names: list[str], most: int = 4) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
