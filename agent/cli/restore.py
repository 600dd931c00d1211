"""`conservator restore`: one photo from inspection to result."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conservator.agent.cli.approving import Person, approve_option
from conservator.agent.cli.console import bar, emit_json, emit_path, say
from conservator.agent.cli.exit_code import ExitCode
from conservator.agent.cli.interruption import stopping_on_interrupt
from conservator.agent.cli.options import (
    PATH,
    Command,
    contract_options,
    device_option,
    json_option,
    output_option,
    overwrite_option,
    policy_option,
    seed_option,
    vlm_option,
)
from conservator.agent.cli.progress import show
from conservator.agent.errors import MissingFileError, UsageError

if TYPE_CHECKING:
    from conservator.agent.events import Event
    from conservator.agent.result import RestorationResult

__all__ = ["code_of", "restore", "tell"]


@click.command(cls=Command)
@click.argument("picture", metavar="IN", type=PATH)
@output_option("File to write. Default: beside IN, photo.restored.jpg.")
@policy_option("balanced")
@contract_options
@seed_option
@click.option(
    "--run-dir",
    metavar="DIR",
    type=PATH,
    help="Folder for report, recipe, sheet and checkpoints. Default: beside the output.",
)
@vlm_option
@approve_option
@device_option
@json_option
@click.option("--dry-run", is_flag=True, help="Inspect and plan only; write nothing.")
@overwrite_option
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with the last run on IN, or the one in --run-dir, with new limits if given.",
)
@click.pass_context
def restore(
    context: click.Context,
    picture: Path,
    output: Path | None,
    policy: str,
    experience: str | None,
    targets: tuple[str, ...],
    protect: tuple[str, ...],
    keep: tuple[str, ...],
    max_seconds: float | None,
    max_tools: int | None,
    seed: int,
    run_dir: Path | None,
    vlm: str,
    approve: str,
    device: str | None,
    as_json: bool,
    dry_run: bool,
    overwrite: bool,
    resume: bool,
) -> ExitCode:
    """Inspect a photo, restore no more than needed, and document it.

    The input stays as it is. The result is a new file beside it; the run folder holds report.html (the whole run as one
    page), report.json, recipe.json and sheet.png (before and after).
    """
    if resume:
        _refuse_with_resume(context)
        run_dir = run_dir or _last_run(picture)
    asks = approve != "never" and not dry_run
    with stopping_on_interrupt() as cancel, bar() as shown:
        person = Person(lambda: shown)
        if asks:
            person.check()
        shown.stage("starting")
        from conservator.agent import api

        def listen(event: Event) -> None:
            show(event, shown)

        if resume and run_dir is not None:
            result = api.resume(
                run_dir,
                max_seconds=max_seconds,
                max_tools=max_tools,
                vlm=vlm,
                approve=approve if _given(context, "approve") else None,
                approver=person,
                on_event=listen,
                cancel=cancel,
            )
        else:
            result = api.restore(
                picture,
                policy=policy,
                experience=experience,
                targets=",".join(targets) if targets else None,
                protect=protect,
                keep=keep,
                max_seconds=max_seconds,
                max_tools=max_tools,
                seed=seed,
                output=output,
                overwrite=overwrite,
                run_dir=run_dir,
                dry_run=dry_run,
                device=device,
                vlm=vlm,
                approve=approve,
                approver=person if approve != "never" else None,
                on_event=listen,
                cancel=cancel,
            )
    tell(result, picture, as_json=as_json, dry_run=dry_run)
    return code_of(result)


def _refuse_with_resume(context: click.Context) -> None:
    """A resumed run does what it was asked for when it began; silence would hide that.

    Raises:
        UsageError: options that only a new run takes.
    """
    fixed = (
        *("output", "policy", "experience", "targets", "protect", "keep"),
        *("seed", "device", "dry_run", "overwrite"),
    )
    given = [name for name in fixed if _given(context, name)]
    if given:
        listed = ", ".join(
            f"--{name.replace('_', '-')}".replace("targets", "target") for name in given
        )
        raise UsageError(f"{listed} cannot change a run that began; leave it out with --resume")


def _given(context: click.Context, name: str) -> bool:
    """Whether an option is on the command line, be it with its default."""
    return context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def _last_run(picture: Path) -> Path:
    """The newest run folder beside `picture` that was made for it; or `picture`, if that is a run folder.

    Raises:
        MissingFileError: there is none.
    """
    if (picture / "request.json").is_file():
        return picture
    wanted = str(picture.absolute())
    found = [
        request.parent
        for request in picture.absolute().parent.glob("*/request.json")
        if _input_of(request) == wanted
    ]
    if not found:
        raise MissingFileError(
            f"no run on {str(picture)!r} beside it; give its folder with --run-dir"
        )
    return max(found, key=lambda folder: (folder / "request.json").stat().st_mtime_ns)


def _input_of(request: Path) -> str | None:
    try:
        data = json.loads(request.read_bytes())
    except (OSError, ValueError):
        return None
    return data.get("input") if isinstance(data, dict) else None


def tell(result: RestorationResult, picture: Path, *, as_json: bool, dry_run: bool) -> None:
    """The result: words to stderr, the path or JSON to stdout."""
    from conservator.agent.cli.narration import narrated

    if not as_json:
        for line in narrated(result, dry_run=dry_run):
            say(line)
    resumable = result.outcome in ("cancelled", "limit", "stopped", "waiting")
    if resumable and result.run_dir is not None:
        say(_how_to_go_on(result, picture))
    if as_json:
        emit_json(result.as_dict())
    elif result.path is not None:
        emit_path(result.path)


def _how_to_go_on(result: RestorationResult, picture: Path) -> str:
    run = shlex.quote(str(result.run_dir))
    command = f"conservator restore {shlex.quote(str(picture))} --resume --run-dir {run}"
    if result.limit is not None:
        command += f" --max-{result.limit} N"
    return f"go on with: {command}"


def code_of(result: RestorationResult) -> ExitCode:
    """The exit code of a run."""
    if result.outcome == "cancelled":
        return ExitCode.INTERRUPTED
    ended = result.outcome in ("limit", "stopped", "waiting")
    return ExitCode.LIMIT if ended else ExitCode.DONE
