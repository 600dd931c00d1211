"""The restorers there are, by name. Listing them imports neither torch nor their code.

Adding a restorer is one line in `_BUILT_IN`: its name, where its card is, and where it is built. A package of someone
else's adds one through the entry-point group `conservator.restorers`, whose entries point at an `Entry`.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from conservator.restorers.card import RestorerCard
from conservator.restorers.errors import ConservatorError, RestorerError, UnknownNameError

if TYPE_CHECKING:
    from conservator.restorers.base import Restorer

__all__ = [
    "ENTRY_POINT_GROUP",
    "Entry",
    "card",
    "cards",
    "describe",
    "load",
    "register",
    "rescan",
    "unload",
]

ENTRY_POINT_GROUP: Final = "conservator.restorers"


@dataclass(frozen=True)
class Entry:
    """Where a restorer is.

    Attributes:
        card: `module:NAME` of its `RestorerCard`; that module must not import torch.
        build: `module:name` of a callable `(configuration, weights_path) -> TileRestorer`.
    """

    card: str
    build: str


def _classical(card: str, build: str) -> Entry:
    package = "conservator.restorers.classical"
    return Entry(f"{package}.cards:{card}", f"{package}.{build}")


_BUILT_IN: Final[dict[str, Entry]] = {
    "llmra": Entry(
        "conservator.restorers.llmra.card:CARD", "conservator.restorers.llmra.restorer:build"
    ),
    "mofe-ir": Entry(
        "conservator.restorers.mofe_ir.card:CARD", "conservator.restorers.mofe_ir.restorer:build"
    ),
    "spire": Entry(
        "conservator.restorers.spire.card:CARD", "conservator.restorers.spire.restorer:build"
    ),
    "lm4lv": Entry(
        "conservator.restorers.lm4lv.card:CARD", "conservator.restorers.lm4lv.restorer:build"
    ),
    "classical-nlm": _classical("NLM", "denoise:NonLocalMeans"),
    "classical-wavelet": _classical("WAVELET", "denoise:Wavelet"),
    "classical-dct": _classical("DCT", "denoise:SlidingDct"),
    "classical-bilateral": _classical("BILATERAL", "denoise:Bilateral"),
    "classical-gamma": _classical("GAMMA", "light:Gamma"),
    "classical-clahe": _classical("CLAHE", "light:Clahe"),
    "classical-dehaze": _classical("DEHAZE", "dehaze:DarkChannel"),
    "classical-deblur": _classical("DEBLUR", "deblur:Defocus"),
    "classical-motion": _classical("MOTION", "deblur:Motion"),
    "classical-median": _classical("MEDIAN", "impulse:Median"),
    "classical-deblock": _classical("DEBLOCK", "deblock:Deblock"),
    "classical-resize": _classical("RESIZE", "resize:Resize"),
    "classical-upscale-x2": _classical("UPSCALE_X2", "resize:UpscaleX2"),
    "classical-upscale-x4": _classical("UPSCALE_X4", "resize:UpscaleX4"),
    "classical-inpaint": _classical("INPAINT", "inpaint:Inpaint"),
    "classical-rain": _classical("RAIN", "weather:Rain"),
    "classical-snow": _classical("SNOW", "weather:Snow"),
    "community": Entry(
        "conservator.restorers.community.card:CARD",
        "conservator.restorers.community.checkpoint:build",
    ),
}

_registered: dict[str, Entry] = {}
_resident: dict[tuple[str, str, str, str, str], Restorer] = {}
_lock = threading.RLock()


def register(name: str, entry: Entry) -> None:
    """Add a restorer for this process.

    Raises:
        RestorerError: the name is taken.
    """
    with _lock:
        if name in _entries():
            raise RestorerError(
                f"a restorer named {name!r} is registered already; choose another name"
            )
        _registered[name] = entry
        _card.cache_clear()


def cards() -> dict[str, RestorerCard]:
    """Every restorer's card by name, in the order of registration.

    Raises:
        RestorerError: two packages claim one name, or a card does not load.
    """
    return {name: _card(name) for name in _entries()}


def card(name: str) -> RestorerCard:
    """One restorer's card.

    Raises:
        UnknownNameError: no such restorer.
    """
    _entry(name)
    return _card(name)


def load(
    name: str,
    configuration: str = "compact",
    *,
    device: str = "auto",
    dtype: str = "auto",
    weights_path: str | Path | None = None,
    allow_download: bool = False,
) -> Restorer:
    """A restorer ready to run; the same arguments return the same resident object.

    Args:
        name: as in `cards()`.
        configuration: `compact` or `paper`.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, ...
        dtype: `auto`, `float32` or `bfloat16`.
        weights_path: a safetensors file or `hf://owner/repository/file` in place of the packaged weights.
        allow_download: let a hub address be fetched.

    Raises:
        UnknownNameError: no such restorer, configuration, device or dtype.
        WeightsError: weights missing, corrupted or not fitting.
        BackendMissingError: the device or an optional package is not there.
    """
    entry, data = _entry(name), card(name)
    if configuration not in data.configurations:
        known = tuple(data.configurations)
        raise UnknownNameError(f"configuration of {name}", configuration, known)
    from conservator.restorers.runner import Runner
    from conservator.restorers.weights import locate_weights

    path = None
    if weights_path is not None:
        path = locate_weights(weights_path, allow_download=allow_download)
    key = (name, configuration, device, dtype, "" if path is None else str(path.resolve()))
    with _lock:
        if key not in _resident:
            tile_restorer = _object(entry.build)(configuration, path)
            _resident[key] = Runner(tile_restorer, device=device, dtype=dtype)
        return _resident[key]


def unload() -> None:
    """Forget the resident restorers, so that their memory can be freed."""
    with _lock:
        _resident.clear()


def rescan() -> None:
    """Look for packages that add restorers again; they are looked for once in a process otherwise."""
    with _lock:
        _third_party.cache_clear()
        _card.cache_clear()


def describe() -> list[dict[str, Any]]:
    """The catalogue as JSON data, for `conservator restorers --json`."""
    return [
        {
            "name": data.name,
            "title": data.title,
            "treats": [kind.value for kind in data.treats],
            "prompt_style": data.prompt_style,
            "understands_strength": data.understands_strength,
            "scale": data.scale,
            "seconds_per_mp": data.seconds_per_mp,
            "licence": data.licence,
            "commercial_use": data.commercial_use,
            "paper": data.paper,
            "configurations": {
                size: chosen.model_dump(mode="json") for size, chosen in data.configurations.items()
            },
        }
        for data in cards().values()
    ]


def _entries() -> dict[str, Entry]:
    entries = dict(_BUILT_IN)
    for name, entry in (*_third_party(), *_registered.items()):
        if name in entries:
            raise RestorerError(
                f"two restorers are named {name!r}; uninstall or rename one of the packages that add it"
            )
        entries[name] = entry
    return entries


@cache
def _third_party() -> tuple[tuple[str, Entry], ...]:
    """Entries of installed packages; reading the metadata of all that is installed takes 40 ms."""
    found = []
    for point in entry_points(group=ENTRY_POINT_GROUP):
        try:
            entry = point.load()
        except Exception as error:
            raise RestorerError(
                f"restorer {point.name!r} ({point.value}) does not import: {error}; fix or uninstall its package"
            ) from error
        if not isinstance(entry, Entry):
            raise RestorerError(
                f"restorer {point.name!r} ({point.value}) is {type(entry).__name__}, not a catalog.Entry"
            )
        found.append((point.name, entry))
    return tuple(found)


def _entry(name: str) -> Entry:
    entries = _entries()
    if name not in entries:
        raise UnknownNameError("restorer", name, tuple(entries))
    return entries[name]


@cache
def _card(name: str) -> RestorerCard:
    data = _object(_entry(name).card)
    if not isinstance(data, RestorerCard):
        raise RestorerError(f"the card of {name!r} is {type(data).__name__}, not a RestorerCard")
    if data.name != name:
        raise RestorerError(f"the card of {name!r} is named {data.name!r}; both must agree")
    return data


def _object(reference: str) -> Any:
    module, _, attribute = reference.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except ConservatorError:
        raise
    except (ImportError, AttributeError) as error:
        raise RestorerError(f"{reference} does not import: {error}") from error
