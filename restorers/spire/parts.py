"""SPIRE's weights file: which parts it holds, which of them are trained, and with which switches."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from torch import Tensor

from conservator.restorers.errors import WeightsError
from conservator.restorers.spire.config import SpireConfig
from conservator.restorers.spire.network import Spire
from conservator.restorers.weights import apply_weights, metadata_of, save_weights

__all__ = ["STAGES", "ours", "read_into", "stages_in", "switches_in", "write"]

STAGES = ("autoencoder", "prior", "branch", "fidelity")
"""Parts in the order in which they are trained; each needs those before it."""


def write(
    state: Mapping[str, Tensor],
    path: Path,
    stages: Iterable[str],
    config: str,
    switches: Mapping[str, Any],
    **facts: str,
) -> str:
    """Write a model's state with what is known of it; returns the sha256."""
    said = {
        "restorer": "spire",
        "config": config,
        "stages": ",".join(stage for stage in STAGES if stage in set(stages)),
        "switches": json.dumps(dict(switches), sort_keys=True),
    }
    return save_weights(state, path, said | facts)


def ours(model: Spire) -> dict[str, Tensor]:
    """What is ours of a model's state: everything, or the branch alone where the rest is a base's."""
    state: dict[str, Tensor] = model.state_dict()
    if model.fidelity is None:
        return {name: x for name, x in state.items() if name.startswith("branch.")}
    return state


def stages_in(path: Path) -> tuple[str, ...]:
    """The stages that a file's weights went through.

    Raises:
        WeightsError: the file does not read.
    """
    said = metadata_of(path).get("stages", "")
    return tuple(stage for stage in STAGES if stage in said.split(","))


def switches_in(path: Path) -> dict[str, Any]:
    """The changes to the configuration that a file's weights were trained with.

    Raises:
        WeightsError: the file does not read, or names a switch that there is not.
    """
    said = metadata_of(path).get("switches", "{}")
    try:
        switches = json.loads(said)
    except ValueError as error:
        raise WeightsError(f"{path} has switches that do not read: {said[:80]!r}") from error
    known = {field.name for field in fields(SpireConfig)} - {"sampling"}
    if not isinstance(switches, dict) or set(switches) - known:
        raise WeightsError(f"{path} was trained with switches nobody knows: {said[:80]!r}")
    return {name: tuple(v) if isinstance(v, list) else v for name, v in switches.items()}


def read_into(model: Spire, state: Mapping[str, Tensor]) -> None:
    """Copy weights into a model; for one on a base, the branch's alone.

    Raises:
        WeightsError: they do not fit.
    """
    if model.fidelity is None:
        names = "branch."
        apply_weights(model.branch, {name.removeprefix(names): x for name, x in state.items()})
    else:
        apply_weights(model, state)
