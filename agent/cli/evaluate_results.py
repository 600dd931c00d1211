"""`conservator eval show`, `compare`, `gate` and `export`: what reads a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from conservator.agent.cli.console import columns, emit, emit_json, emit_path, say
from conservator.agent.cli.exit_code import ExitCode
from conservator.agent.cli.files import new_file
from conservator.agent.cli.options import (
    PATH,
    Command,
    json_option,
    metrics_option,
    overwrite_option,
    systems_option,
)
from conservator.agent.errors import UsageError

if TYPE_CHECKING:
    from conservator.evals.log import RunFolder
    from conservator.evals.sample import AnswerRecord

__all__ = ["compare", "export", "gate", "show"]

FORMATS = ("csv", "parquet", "markdown", "html")


@click.command(cls=Command)
@click.argument("folder", metavar="RUN", type=PATH)
@metrics_option("Only these metrics.")
@click.option(
    "--worst",
    metavar="N",
    type=click.IntRange(min=1),
    help="Also list the N answers that gained least over untouched.",
)
@json_option
def show(folder: Path, metrics: tuple[str, ...], worst: int | None, as_json: bool) -> None:
    """Show the tables of a run, finished or not."""
    from conservator.evals.export import known_metrics, summary_of, task_of
    from conservator.evals.log import RunFolder
    from conservator.evals.tables import markdown

    run = RunFolder.open(folder)
    summary, task = summary_of(run), task_of(run)
    chosen = known_metrics(summary, metrics)
    _say_unfinished(run)
    losses = _losses(run.records(), (chosen or [summary["primary"]])[0], worst) if worst else []
    if as_json:
        emit_json(summary | ({"worst": losses} if worst else {}))
        return
    emit(markdown(summary, task, chosen or None).rstrip())
    if losses:
        emit("")
        rows = [
            (loss["sample_id"], loss["system"], f"{loss['gain']:+.4g}", loss["picture"] or "-")
            for loss in losses
        ]
        for line in columns([("sample", "system", "gain", "picture"), *rows], indent=""):
            emit(line)


@click.command(cls=Command)
@click.argument("first", metavar="RUN[:SYSTEM]")
@click.argument("second", metavar="RUN[:SYSTEM]")
@click.option("--metric", metavar="NAME", help="Ranks the losses. Default: the task's primary one.")
@click.option(
    "--worst",
    metavar="N",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="How many of the largest losses to list.",
)
@click.option("--html", metavar="OUT", type=PATH, help="Also write a page with their pictures.")
@overwrite_option
@json_option
def compare(
    first: str,
    second: str,
    metric: str | None,
    worst: int,
    html: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Compare two runs, or two systems, on the samples they share.

    Differences are second minus first, with intervals and paired tests. The samples that lost most come last, with
    the paths of their pictures. Without SYSTEM every system is compared with its namesake.
    """
    from conservator.evals import compare as comparing

    if html is not None:
        new_file(html, overwrite=overwrite)
    sides = comparing.Side.parse(first), comparing.Side.parse(second)
    result = comparing.compare(*sides, metric=metric, worst=worst)
    if html is not None:
        from conservator.evals.report.page import comparison_page
        from conservator.tools.image_io import write_atomically

        page = comparison_page(result).encode(errors="replace")
        write_atomically(html, page, overwrite=overwrite)
        say(f"wrote {html}")
    if as_json:
        emit_json(result.as_data())
    else:
        emit(result.text().rstrip())


@click.command(cls=Command)
@click.argument("folder", metavar="RUN", type=PATH)
@click.argument("baseline", metavar="BASELINE", type=PATH)
@metrics_option("Default: the primary.")
@systems_option("Default: all.")
@click.option(
    "--tolerance",
    metavar="T",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="How far beyond the interval is allowed, in the metric's unit.",
)
@json_option
def gate(
    folder: Path,
    baseline: Path,
    metrics: tuple[str, ...],
    systems: tuple[str, ...],
    tolerance: float,
    as_json: bool,
) -> ExitCode:
    """Fail when a run fell below a baseline.

    BASELINE is the summary.json of an earlier run, or its folder. A metric may lie anywhere within the baseline's 95 %
    interval; beyond its worse end, by more than the tolerance, is a breach. So is whatever is missing, and one more
    failed answer. A line a breach on stdout, and exit code 1.
    """
    from conservator.evals import gate as gating
    from conservator.evals.log import RunFolder

    run = RunFolder.open(folder)
    verdict = gating.gate(
        run.summary,
        gating.read_baseline(baseline),
        metrics=metrics,
        tolerance=tolerance,
        systems=systems,
    )
    if as_json:
        emit_json(verdict.as_data())
    else:
        for breach in verdict.breaches:
            emit(str(breach))
        found = len(verdict.breaches)
        words = "passed" if verdict.passed else f"{found} breach{'es' if found > 1 else ''}"
        say(f"{words}; {verdict.checked} figures compared")
    return ExitCode.DONE if verdict.passed else ExitCode.FAILED


@click.command(cls=Command)
@click.argument("folder", metavar="RUN", type=PATH)
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="Default: by the suffix of OUT, else html.",
)
@click.option(
    "-o", "--output", metavar="OUT", type=PATH, help="File to write. Default: report in RUN."
)
@click.option(
    "--into",
    metavar="DOC",
    type=PATH,
    help="Put one table, rows x systems, between the marks of DOC instead; with --metric.",
)
@metrics_option("Of the table in DOC. Default: the primary.")
@overwrite_option
def export(
    folder: Path,
    form: str | None,
    output: Path | None,
    into: Path | None,
    metrics: tuple[str, ...],
    overwrite: bool,
) -> None:
    """Write a run as CSV, Parquet, Markdown, or one HTML file.

    The HTML report is self-contained: tables, plots, and pictures to compare. CSV and Parquet hold a line an answer.
    With --into only the table of a document changes, such as that of a model card: what stands between the comments
    "table: begin" and "table: end".
    """
    from conservator.evals import export as exporting
    from conservator.evals.log import RunFolder

    if (into is not None and (form or output)) or (into is None and metrics):
        raise UsageError("--into goes with --metric, not with --format or --output")
    run = RunFolder.open(folder)
    if into is not None:
        _say_unfinished(run)
        exporting.renew_table(run, into, metrics)
        emit_path(into)
        return
    chosen = form or (exporting.format_of(output) if output else "html")
    target = output or folder / f"report{exporting.FORMATS[chosen]}"
    new_file(target, overwrite=overwrite)
    _say_unfinished(run)
    emit_path(exporting.export(run, chosen, target, overwrite=overwrite))


def _say_unfinished(run: RunFolder) -> None:
    if run.config.get("status") != "done":
        say(f"note: {run.path} is not finished: conservator eval resume {run.path}")


def _losses(
    records: Sequence[AnswerRecord], metric: str, worst: int | None
) -> list[dict[str, Any]]:
    from conservator.evals.summary import UNTOUCHED, gains

    by_key = {record.key: record for record in records}
    found = [
        (gain, by_key[sample, system])
        for system in sorted({r.system for r in records} - {UNTOUCHED})
        for sample, gain in gains(records, metric, system).items()
    ]
    found.sort(key=lambda pair: (pair[0], pair[1].key))
    return [
        {
            "sample_id": r.sample_id,
            "system": r.system,
            "metric": metric,
            "gain": g,
            "picture": r.image,
        }
        for g, r in found[:worst]
    ]
