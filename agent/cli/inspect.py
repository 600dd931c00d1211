"""`conservator inspect`: the condition report."""

from __future__ import annotations

from pathlib import Path

import click

from conservator.agent.cli.console import bar, emit, emit_json
from conservator.agent.cli.options import PATH, Command, device_option, json_option, vlm_option

__all__ = ["inspect"]


@click.command(cls=Command)
@click.argument("picture", metavar="IN", type=PATH)
@vlm_option
@device_option
@json_option
def inspect(picture: Path, vlm: str, device: str | None, as_json: bool) -> None:
    """Measure what is wrong with a photo; changes nothing."""
    with bar() as shown:
        shown.stage("inspecting")
        from conservator.agent import api
        from conservator.agent.cli.narration import condition, report_data

        report = api.inspect(picture, vlm=vlm, device=device)
    if as_json:
        emit_json(report_data(report))
        return
    for line in condition(report):
        emit(line)
