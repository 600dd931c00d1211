"""`conservator score`: quality metrics of a photo."""

from __future__ import annotations

from pathlib import Path

import click

from conservator.agent.cli.console import bar, columns, emit, emit_json, say
from conservator.agent.cli.exit_code import ExitCode
from conservator.agent.cli.options import PATH, Command, json_option

__all__ = ["score"]


@click.command(cls=Command)
@click.argument("picture", metavar="IN", type=PATH)
@click.option("--reference", metavar="R", type=PATH, help="The same picture as it should be.")
@click.option(
    "--metrics",
    metavar="LIST",
    help="Names, e.g. psnr,ssim,niqe. Default: all that can run here.",
)
@json_option
def score(picture: Path, reference: Path | None, metrics: str | None, as_json: bool) -> ExitCode:
    """Score a photo, against a reference if there is one.

    Metrics asked for by name that give no number make it fail.
    """
    with bar() as shown:
        shown.stage("scoring")
        from conservator.agent.pictures import picture_from
        from conservator.tools import iqa

        names = None
        if metrics is not None:
            names = [
                iqa.card_named(name.strip()).name for name in metrics.split(",") if name.strip()
            ]
        loaded = picture_from(picture)
        clean = None if reference is None else picture_from(reference).pixels
        scores = iqa.score(loaded.pixels, clean, names)
    if as_json:
        skipped = {name: skip.why for name, skip in scores.skipped.items()}
        emit_json({"scores": dict(scores), "skipped": skipped})
    elif scores:
        rows = [
            (name, f"{value:.4f}", f"{iqa.METRICS[name].direction} is better")
            for name, value in scores.items()
        ]
        for line in columns(rows, indent=""):
            emit(line)
    for skip in scores.skipped.values():
        say(f"{'error' if names else 'note'}: {skip.why}")
    if not names or not scores.skipped:
        return ExitCode.DONE
    missing = any(skip.reason is iqa.SkipReason.WEIGHTS for skip in scores.skipped.values())
    return ExitCode.BACKEND_MISSING if missing else ExitCode.FAILED
