"""`conservator restorers` and `conservator policies`: what there is to choose from."""

from __future__ import annotations

from typing import Any

import click

from conservator.agent.cli.console import columns, emit, emit_json, say
from conservator.agent.cli.options import Command, json_option
from conservator.agent.cli.train import NETWORKS

__all__ = ["policies", "restorers"]

_PUBLISHED = ("name", "treats", "prompt_style", "licence", "commercial_use", "configurations")


@click.command(cls=Command)
@json_option
@click.option("--markdown", is_flag=True, help="Write the table of the README.")
def restorers(as_json: bool, markdown: bool) -> None:
    """List the restorers.

    What each one treats, in which language its prompt is, its licence and its sizes.
    """
    from conservator.restorers import catalog

    entries = catalog.describe()
    if as_json:
        emit_json([{key: entry[key] for key in _PUBLISHED} for entry in entries])
        return
    rows = [_row(entry) for entry in entries]
    header = ("name", "treats", "prompt", "sizes", "licence", "commercial use")
    if not markdown:
        for line in columns([header, *rows], indent=""):
            emit(line)
        for entry in entries:
            if _untrained(entry):
                name = entry["name"]
                say(
                    f"{name} ships without weights, so no run calls it; train it: conservator train {name} --data DIR --out OUT, "
                    f"then: conservator apply {name} IN --prompt TEXT --weights OUT/{name}-compact.safetensors"
                )
        return
    emit(f"| {' | '.join(header)} |")
    emit(f"|{'---|' * len(header)}")
    for row in rows:
        emit(f"| {' | '.join(row)} |")


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    kinds = [kind.replace("_", " ") for kind in entry["treats"]]
    return (
        entry["name"],
        "all kinds" if len(kinds) == _kinds() else ", ".join(kinds) or "as trained",
        entry["prompt_style"],
        ", ".join(filter(None, (_size(*size) for size in entry["configurations"].items()))) or "-",
        entry["licence"],
        "yes" if entry["commercial_use"] else "no",
    )


def _size(name: str, configuration: dict[str, Any]) -> str:
    """Millions of parameters; "" for tools without a network."""
    if configuration["weights"]:
        return f"{name} {configuration['parameters_m']:g} M"
    return f"{name} (bring weights)" if name == "paper" or configuration["parameters_m"] else ""


def _untrained(entry: dict[str, Any]) -> bool:
    """Whether somebody would have to train it before it runs."""
    size = entry["configurations"].get("compact", {})
    return entry["name"] in NETWORKS and not size.get("weights")


def _kinds() -> int:
    from conservator.restorers.degradations.vocabulary import Kind

    return len(Kind)


@click.command(cls=Command)
@json_option
def policies(as_json: bool) -> None:
    """List the policies.

    A policy says what is treated, how far, and when to stop. With --json every threshold; a file of the same keys in
    YAML is a policy too.
    """
    from conservator.policies.preset import load_preset, preset_names

    presets = [load_preset(name) for name in preset_names()]
    if as_json:
        emit_json([preset.model_dump(mode="json") for preset in presets])
        return
    for line in columns([(preset.name, preset.title) for preset in presets], indent=""):
        emit(line)
