"""Metric objects: built once, offline and in silence, then kept."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conservator.tools.iqa.card import MetricCard
from conservator.tools.iqa.offline import no_network

__all__ = ["PRISTINE", "Resident", "forget", "quiet", "resident"]

PRISTINE = Path(__file__).with_name("niqe_pristine.npz")
"""NIQE's model of clean photos, made by `conservator.tools.iqa.fit_niqe`."""


@dataclass(frozen=True)
class Resident:
    """A metric in memory; call it under its lock, because pyiqa's objects keep state between calls."""

    call: Callable[..., Any]
    lock: threading.Lock = field(default_factory=threading.Lock)


_RESIDENTS: dict[tuple[str, str], Resident] = {}
_BUILDING = threading.Lock()


def resident(card: MetricCard, device: str) -> Resident:
    """The metric's object on `device`, built on first use.

    Raises:
        BackendMissingError: building it would need the network.
        Exception: whatever pyiqa raises on weights it cannot read.
    """
    key = (card.name, device)
    with _BUILDING:
        if key not in _RESIDENTS:
            _RESIDENTS[key] = Resident(_build(card, device))
        return _RESIDENTS[key]


def forget() -> None:
    """Drop every metric object from memory."""
    with _BUILDING:
        _RESIDENTS.clear()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Swallow the warnings of third-party code; ours are raised as errors or recorded as skips."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _build(card: MetricCard, device: str) -> Callable[..., Any]:
    with (
        quiet(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        with no_network(f"metric {card.name}"), tempfile.TemporaryDirectory() as folder:
            import pyiqa

            logging.getLogger("pyiqa").setLevel(logging.ERROR)
            options: dict[str, Any] = {}
            if card.name == "niqe":
                options["pretrained_model_path"] = str(_pristine_as_mat(Path(folder)))
            metric = pyiqa.create_metric(card.name, device=device, **options)
    call: Callable[..., Any] = metric
    return call


def _pristine_as_mat(folder: Path) -> Path:
    """Write NIQE's parameters in the only form pyiqa reads, a MATLAB file."""
    import numpy as np
    import scipy.io

    path = folder / "niqe.mat"
    with np.load(PRISTINE) as fitted:
        scipy.io.savemat(
            path, {"mu_prisparam": fitted["mean"][None, :], "cov_prisparam": fitted["covariance"]}
        )
    return path
