"""`conservator eval`: suites over folders of images."""

from __future__ import annotations

import shlex
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from conservator.agent.cli.console import columns, emit, emit_json, emit_path, say
from conservator.agent.cli.evaluate_results import compare, export, gate, show
from conservator.agent.cli.exit_code import ExitCode
from conservator.agent.cli.options import (
    PATH,
    Command,
    above,
    fail_on_error_option,
    json_option,
    metrics_option,
    overwriting,
    seed_option,
    systems_option,
    workers_option,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conservator.evals.pool import Progress
    from conservator.evals.runner import Run
    from conservator.evals.sample import AnswerRecord

__all__ = ["evaluate"]


@click.group("eval", context_settings={"help_option_names": ["-h", "--help"]})
def evaluate() -> None:
    """Measure restorers and the agent on folders of images.

    A run folder holds every answer with its score, the versions and the hardware, and a summary; a run that is killed goes on
    with `resume`. Add --debug to a command for the traceback of an error.
    """


@click.command(cls=Command)
@click.argument("suite", metavar="SUITE")
@click.option(
    "--images",
    metavar="DIR",
    required=True,
    multiple=True,
    help="Folder of pictures or of pairs, a CSV or Parquet manifest, or hf:NAME. Give several to measure them together.",
)
@click.option("-o", "--out", metavar="RUN", type=PATH, help="Run folder, new or empty.")
@systems_option("Instead of the suite's.")
@metrics_option("Only these metrics.")
@click.option("--limit", metavar="N", type=click.IntRange(min=1), help="Pictures a row and folder.")
@click.option(
    "--crop",
    metavar="PX",
    type=click.IntRange(min=8),
    help="Only the centre of each picture, so many px a side.",
)
@click.option("--sample-id", "sample_ids", metavar="ID", multiple=True, help="Only these samples.")
@seed_option
@workers_option
@click.option(
    "--threads",
    metavar="N",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Of each worker; more may turn the last bits of a result.",
)
@click.option(
    "--seconds",
    metavar="S",
    type=float,
    callback=above(0),
    help="Limit an answer. Default: the suite's.",
)
@click.option(
    "--retries",
    metavar="N",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Tries after a worker died.",
)
@click.option("--no-images", is_flag=True, help="Keep scores only.")
@overwriting("Replace an earlier run in RUN.")
@fail_on_error_option
@click.option("--dry-run", is_flag=True, help="List samples and systems; run nothing.")
@json_option
def run(
    suite: str,
    images: tuple[str, ...],
    out: Path | None,
    systems: tuple[str, ...],
    metrics: tuple[str, ...],
    limit: int | None,
    crop: int | None,
    sample_ids: tuple[str, ...],
    seed: int,
    workers: int | None,
    threads: int,
    seconds: float | None,
    retries: int,
    no_images: bool,
    overwrite: bool,
    fail_on_error: bool,
    dry_run: bool,
    as_json: bool,
) -> ExitCode:
    """Run a suite (see `conservator eval list`) or a task in a YAML file."""
    from conservator.evals import runner

    if dry_run:
        task, chosen, listing = runner.plan(
            suite,
            images,
            systems=systems,
            metrics=metrics,
            limit=limit,
            crop=crop,
            sample_ids=sample_ids,
            seed=seed,
        )
        if as_json:
            emit_json(
                {
                    "task": task.key,
                    "systems": chosen,
                    "samples": [spec.model_dump(mode="json") for spec in listing.samples],
                    "skipped": listing.skipped,
                }
            )
        else:
            say(f"{task.key}: {len(listing.samples)} samples, systems: {', '.join(chosen)}")
            _tell_skipped(listing.skipped)
            for spec in listing.samples:
                emit(spec.sample_id)
        return ExitCode.DONE
    if out is None:
        raise click.UsageError("give the run folder with --out")
    work = partial(
        runner.run_suite,
        suite,
        images,
        out,
        systems=systems,
        metrics=metrics,
        limit=limit,
        crop=crop,
        sample_ids=sample_ids,
        seed=seed,
        workers=workers,
        threads=threads,
        seconds=seconds,
        retries=retries,
        keep_images=not no_images,
        overwrite=overwrite,
    )
    return _carried_out(work, out, fail_on_error=fail_on_error, as_json=as_json)


@click.command(cls=Command)
@click.argument("folder", metavar="RUN", type=PATH)
@workers_option
@fail_on_error_option
@json_option
def resume(folder: Path, workers: int | None, fail_on_error: bool, as_json: bool) -> ExitCode:
    """Go on with a run that was interrupted, or whose weights or policies have changed.

    Answers that still hold are kept; failed ones are tried again.
    """
    from conservator.evals import runner

    work = partial(runner.resume_run, folder, workers=workers)
    return _carried_out(work, folder, fail_on_error=fail_on_error, as_json=as_json)


@click.command("list", cls=Command)
@json_option
def list_suites(as_json: bool) -> None:
    """List the suites that ship."""
    from conservator.evals.task import load_suite, suite_names

    tasks = [load_suite(name) for name in suite_names()]
    if as_json:
        emit_json([task.model_dump(mode="json") for task in tasks])
        return
    for line in columns(
        [(t.key, t.needs, f"{len(t.rows)} rows", t.title) for t in tasks], indent=""
    ):
        emit(line)


for _command in (run, resume, list_suites, show, compare, gate, export):
    evaluate.add_command(_command)


def _carried_out(
    work: Callable[..., Run], folder: Path, *, fail_on_error: bool, as_json: bool
) -> ExitCode:
    """Run or resume with progress; told to stop, say how to go on."""
    try:
        with _shown() as progress:
            done = work(on_progress=progress)
    except KeyboardInterrupt:
        if not (folder / "config.json").is_file():
            raise
        say(f"interrupted; go on with: conservator eval resume {shlex.quote(str(folder))}")
        return ExitCode.INTERRUPTED
    return _tell(done, fail_on_error=fail_on_error, as_json=as_json)


@contextmanager
def _shown() -> Iterator[Progress]:
    """A bar with the time left on a terminal; without one, a line for each answer that is missing."""
    import sys

    def complain(record: AnswerRecord | None) -> None:
        if record is not None and record.status == "failed":
            say(f"failed: {record.sample_id}, {record.system}: {record.reason}")

    if not sys.stderr.isatty():
        yield lambda done, total, record: complain(record)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    shown = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with shown:
        bar: Any = shown.add_task("starting", total=None)

        def progress(done: int, total: int, record: AnswerRecord | None) -> None:
            what = f"{record.sample_id} {record.system}" if record else "starting"
            shown.update(bar, completed=done, total=total, description=what[-40:])
            complain(record)

        yield progress


def _tell_skipped(skipped: Any) -> None:
    for name, reason in skipped:
        say(f"skipped: {name}: {reason}")


def _tell(done: Run, *, fail_on_error: bool, as_json: bool) -> ExitCode:
    from conservator.evals.log import RunFolder
    from conservator.evals.tables import markdown
    from conservator.evals.task import Task

    config = RunFolder.open(done.folder).config
    _tell_skipped(config["skipped"])
    if as_json:
        emit_json(done.summary)
    else:
        say(markdown(done.summary, Task.model_validate(config["task"])))
        if done.failed:
            say(
                f"{len(done.failed)} of {len(done.records)} answers are missing; the summary lists them"
            )
        emit_path(done.folder)
    # A run in which nothing was measured has failed, whatever is tolerated.
    tolerated = len(done.records) - 1 if not fail_on_error else 0
    return ExitCode.FAILED if len(done.failed) > tolerated else ExitCode.DONE
