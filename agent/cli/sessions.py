"""`conservator sessions`: the runs and dialogues that are kept."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conservator.agent.cli.approving import Person
from conservator.agent.cli.console import bar, columns, emit, emit_json, emit_path, one_line, say
from conservator.agent.cli.exit_code import ExitCode
from conservator.agent.cli.interruption import stopping_on_interrupt
from conservator.agent.cli.options import (
    PATH,
    Command,
    above,
    json_option,
    output_option,
    overwriting,
    vlm_option,
)
from conservator.agent.cli.progress import show as show_event
from conservator.agent.cli.restore import code_of, tell

if TYPE_CHECKING:
    from conservator.agent.archive import Kept
    from conservator.agent.events import Event
    from conservator.agent.result import RestorationResult

__all__ = ["sessions"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def sessions() -> None:
    """List, show, finish, export and delete what runs and dialogues keep.

    A run keeps a folder beside its output (photo.restored.run), a dialogue beside its photo (photo.session). RUN is such a
    folder, or its name where it lies in the current folder or in CONSERVATOR_RUNS_DIR.
    """


@sessions.command("list", cls=Command)
@click.argument("folders", metavar="[FOLDER]...", nargs=-1, type=PATH)
@click.option("-r", "--recursive", is_flag=True, help="Look in sub-folders at any depth.")
@json_option
def list_(folders: tuple[Path, ...], recursive: bool, as_json: bool) -> None:
    """List runs and dialogues, newest first.

    FOLDER is one, or holds some. Default: the current folder, and CONSERVATOR_RUNS_DIR.
    """
    from conservator.agent import archive
    from conservator.agent.errors import MissingFileError

    for folder in folders:
        if not folder.is_dir():
            raise MissingFileError(f"no folder {str(folder)!r}")
    places = folders or archive.default_folders()
    found = archive.listed(places, recursive=recursive)
    if as_json:
        emit_json([kept.as_dict() for kept in found])
        return
    if not found:
        where = ", ".join(str(place) for place in places)
        say(f"no runs in {where}{'' if recursive else '; look deeper with -r'}")
        return
    rows = [
        (
            kept.id,
            kept.kind,
            kept.state,
            kept.policy,
            kept.modified.strftime("%Y-%m-%d %H:%M"),
            _size(kept.size),
            str(kept.path.parent),
        )
        for kept in found
    ]
    head = ("id", "kind", "state", "policy", "written", "size", "in")
    for line in columns([head, *rows], indent=""):
        emit(line)


@sessions.command(cls=Command)
@click.argument("run", metavar="RUN")
@json_option
def show(run: str, as_json: bool) -> None:
    """Show what a run or a dialogue did."""
    from conservator.agent import archive

    kept = archive.find(run)
    if as_json:
        emit_json({**kept.as_dict(), **_details(kept)})
        return
    rows = [
        (name, str(value))
        for name, value in kept.as_dict().items()
        if value is not None and name != "bytes"
    ]
    for line in columns([*rows, ("size", _size(kept.size))], indent=""):
        emit(line)
    for line in _told(kept):
        emit(line)


@sessions.command(cls=Command)
@click.argument("run", metavar="RUN")
@click.option(
    "--max-seconds",
    metavar="S",
    type=float,
    callback=above(0),
    help="A new limit over the whole run.",
)
@click.option(
    "--max-tools",
    metavar="N",
    type=click.IntRange(min=0),
    help="A new limit of restorer calls over the whole run.",
)
@vlm_option
@json_option
def resume(
    run: str, max_seconds: float | None, max_tools: int | None, vlm: str, as_json: bool
) -> ExitCode:
    """Finish a run, and write the output that was asked for.

    Of a dialogue the picture where it is now is written; `conservator chat --run-dir RUN` talks on.
    """
    from conservator.agent import archive

    kept = archive.find(run)
    if kept.kind == "dialogue":
        return _delivered(kept, as_json=as_json)
    with stopping_on_interrupt() as cancel, bar() as shown:
        shown.stage("starting")
        from conservator.agent import api

        def listen(event: Event) -> None:
            show_event(event, shown)

        result = api.resume(
            kept.path,
            max_seconds=max_seconds,
            max_tools=max_tools,
            vlm=vlm,
            approver=Person(lambda: shown),
            on_event=listen,
            cancel=cancel,
        )
        _written_again(result, kept)
    tell(result, kept.input or kept.path, as_json=as_json, dry_run=False)
    return code_of(result)


@sessions.command(cls=Command)
@click.argument("run", metavar="RUN")
@output_option("Folder to write into. Default: RUN's name with .export, in the current folder.")
@overwriting("Replace files of the same names.")
def export(run: str, output: Path | None, overwrite: bool) -> None:
    """Write picture, recipe and report (JSON and HTML) of a run, or of where a dialogue is, into a folder."""
    from conservator.agent import archive

    kept = archive.find(run)
    into = output or Path(f"{kept.path.stem}.export")
    for path in archive.export(kept, into.absolute(), overwrite=overwrite):
        emit_path(path)


@sessions.command(cls=Command)
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def delete(runs: tuple[str, ...], yes: bool) -> None:
    """Delete the folders of runs and dialogues, after asking.

    Photos and the results that were written beside them stay. A folder that holds anything else is refused.
    """
    from conservator.agent import archive

    for kept in [archive.find(run) for run in runs]:
        unfinished = ", unfinished" if kept.state == "unfinished" else ""
        question = f"delete {kept.kind} {kept.path} ({_size(kept.size)}{unfinished})?"
        if not yes and not click.confirm(question, err=True):
            say(f"kept {kept.path}")
            continue
        archive.delete(kept)
        say(f"deleted {kept.path}")


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"


def _details(kept: Kept) -> dict[str, object]:
    """What is in the folder, as JSON data."""
    from conservator.agent.dialogue.state import read_state
    from conservator.agent.sessions import RunFolder

    if kept.kind == "dialogue":
        return {"dialogue": read_state(kept.path).model_dump(mode="json", exclude={"made"})}
    folder = RunFolder.open(kept.path)
    request = folder.read_request().model_dump(mode="json")
    return {"request": request, "report": folder.read_json("report.json")}


def _told(kept: Kept) -> list[str]:
    """What was done, in lines."""
    from conservator.agent.dialogue.state import read_state
    from conservator.agent.dialogue.wording import tree_lines
    from conservator.agent.sessions import RunFolder

    where = shlex.quote(str(kept.path))
    if kept.kind == "dialogue":
        go_on = f"go on with: conservator chat --run-dir {where}"
        return [*tree_lines(read_state(kept.path).tree), go_on]
    report = RunFolder.open(kept.path).read_json("report.json")
    if report is None:
        return [f"finish it with: conservator sessions resume {where}"]
    steps = [
        f"step      {step['restorer']}: {one_line(step['rendered_prompt'])}"
        for step in report["recipe"]["steps"]
    ]
    return [*(steps or ["step      none"]), f"reason    {one_line(report['reason'])}"]


def _delivered(kept: Kept, *, as_json: bool) -> ExitCode:
    """Write the picture of a dialogue."""
    from conservator.agent.dialogue.opening import open_session

    session = open_session(run_dir=kept.path, vlm=None)
    path = session.save()
    say(f"saved {session.tree.here}")
    say(f"go on with: conservator chat --run-dir {shlex.quote(str(kept.path))}")
    if as_json:
        emit_json({**kept.as_dict(), "path": str(path)})
    else:
        emit_path(path)
    return ExitCode.DONE


def _written_again(result: RestorationResult, kept: Kept) -> None:
    """A finished run whose output was removed since writes it once more."""
    from conservator.agent.provenance import provenanced
    from conservator.tools.image_io import save

    if result.path is not None and not result.path.exists():
        save(provenanced(result.picture, result.recipe), result.path, source=kept.input)
