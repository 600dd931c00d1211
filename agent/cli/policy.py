"""`conservator policy`: what was learned from runs, and learning it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from conservator.agent.cli.console import columns, emit, emit_json, emit_path, say
from conservator.agent.cli.exit_code import ExitCode
from conservator.agent.cli.files import new_file
from conservator.agent.cli.options import PATH, Command, json_option, output_option, overwriting
from conservator.agent.errors import ConservatorError, MissingFileError, OutputError, UsageError

if TYPE_CHECKING:
    from conservator.policies.cases import Case, Lesson

__all__ = ["policy"]

_MOST_LINES = 40
_FIELDS = ("condition", "side", "steps", "gain", "error", "accepted", "seconds")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def policy() -> None:
    """Learn from runs which treatment helps which condition; show and export it.

    Nothing is learned unless `policy learn` is called, and nothing learned is used unless `restore --experience` or
    CONSERVATOR_EXPERIENCE says so.
    """


def _experience_option(function: Any) -> Any:
    return click.option(
        "--experience",
        "spec",
        metavar="WHICH",
        default="auto",
        show_default=True,
        help="auto (the shipped experience and your own) or a file.",
    )(function)


@policy.command(cls=Command)
@click.argument("runs", metavar="[RUN]...", nargs=-1, type=PATH)
@click.option(
    "--from",
    "more",
    metavar="RUN",
    multiple=True,
    type=PATH,
    help="A run folder, an eval run, or a folder that holds some at any depth.",
)
@output_option("Experience file to add to. Default: your own, which --experience auto reads.")
def learn(runs: tuple[Path, ...], more: tuple[Path, ...], output: Path | None) -> ExitCode:
    """Add what finished runs show to an experience file.

    Of `conservator restore` each judged candidate counts, with the gain network's estimate; of `conservator eval run` each
    treatment, with its true gain. The same run is learned once.
    """
    from conservator.agent.experience import own_file
    from conservator.policies.cases import CaseFile, Learned

    places = (*more, *runs)
    if not places:
        raise UsageError("nothing to learn from; give run folders: policy learn --from RUN...")
    for place in places:
        if not place.is_dir():
            raise MissingFileError(f"no folder {str(place)!r}")
    found = list(dict.fromkeys(folder for place in places for folder in _runs_in(place)))
    if not found:
        raise UsageError(f"no runs in {', '.join(map(str, places))}")
    file, total = CaseFile(output or own_file()), Learned()
    if output is None:
        _make_folder(file.path.parent)
    for folder in found:
        try:
            lessons = _lessons(folder)
        except ConservatorError as error:
            say(f"skipped {folder}: {error}")
            continue
        if lessons:
            total += file.learn(lessons)
        else:
            say(f"skipped {folder}: nothing in it that can be learned")
    say(f"learned {total.cases} cases from {total.lessons} runs; {total.known} were known already")
    if not total.lessons + total.known:
        return ExitCode.FAILED
    emit_path(file.path)
    return ExitCode.DONE


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {folder}: {error.strerror or error}") from error


def _runs_in(folder: Path) -> Iterator[Path]:
    """Run folders and eval runs: the folder itself, or those below it."""
    if _is_run(folder) or _is_eval_run(folder):
        yield folder
        return
    try:
        below = sorted(folder.iterdir())
    except OSError as error:
        say(f"skipped {folder}: {error.strerror or error}")
        return
    for path in below:
        if path.is_dir() and not path.is_symlink() and not path.name.startswith("."):
            yield from _runs_in(path)


def _is_run(folder: Path) -> bool:
    return (folder / "request.json").is_file()


def _is_eval_run(folder: Path) -> bool:
    return (folder / "samples.jsonl").is_file() and (folder / "config.json").is_file()


def _lessons(folder: Path) -> list[Lesson]:
    """What a folder teaches; of an eval run each answer is a lesson."""
    if _is_eval_run(folder):
        from conservator.evals.lessons import lessons_of_run

        return list(lessons_of_run(folder))
    from conservator.agent.experience import lesson_of_run

    lesson = lesson_of_run(folder)
    return [lesson] if lesson.cases else []


@policy.command(cls=Command)
@click.option(
    "--kind",
    "kinds",
    metavar="KIND",
    multiple=True,
    help="Only conditions that show this kind; all of them where given more than once.",
)
@_experience_option
@json_option
def show(kinds: tuple[str, ...], spec: str, as_json: bool) -> None:
    """Show what was tried on which condition and what it gained, most often seen first.

    A condition is the kinds that the inspection was sure of. The gain is dB of PSNR, with its spread from photo to photo.
    """
    from conservator.policies.experience import tallied
    from conservator.restorers.degradations.vocabulary import kind_named

    wanted = frozenset(kind_named(name) for name in kinds)
    cases = _cases(spec)
    tallies = [tally for tally in tallied(cases) if wanted <= set(tally.kinds)]
    if as_json:
        emit_json([tally.as_dict() for tally in tallies])
        return
    if not tallies:
        named = " with " + ", ".join(kinds) if kinds else ""
        say(f"{len(cases)} cases, none{named}")
        return
    head = ("condition", "treatment", "cases", "gain dB", "accepted")
    # Eval suites judge nothing.
    width = 4 if all(tally.accepted is None for tally in tallies) else 5
    rows = [
        (
            ", ".join(kind.value for kind in tally.kinds) or "nothing sure",
            tally.treatment,
            str(tally.cases),
            f"{tally.gain:+.1f} ± {tally.spread:.1f}",
            "" if tally.accepted is None else f"{tally.accepted:.0%}",
        )
        for tally in tallies[:_MOST_LINES]
    ]
    for line in columns([row[:width] for row in (head, *rows)], indent=""):
        emit(line)
    if len(tallies) > len(rows):
        say(f"{len(tallies) - len(rows)} more lines; --json shows all, --kind fewer")


@policy.command(cls=Command)
@output_option("File to write, .yaml, .csv or .json. Default: JSON to stdout.")
@_experience_option
@overwriting("Replace the file.")
def export(output: Path | None, spec: str, overwrite: bool) -> None:
    """Write every case, for other programs."""
    if output is not None and output.suffix not in (".yaml", ".yml", ".csv", ".json"):
        raise UsageError(f"{output}: give a file that ends in .yaml, .csv or .json")
    rows = [_row(case) for case in _cases(spec)]
    if output is None:
        emit_json(rows)
        return
    from conservator.tools.image_io import write_atomically

    path = new_file(output, overwrite=overwrite)
    write_atomically(path, _text(rows, path.suffix).encode(), overwrite=overwrite)
    emit_path(path)


def _cases(spec: str) -> tuple[Case, ...]:
    from conservator.agent.experience import experience_files
    from conservator.policies.cases import CaseFile

    files = experience_files(spec)
    if not files:
        raise UsageError("there is no experience to show; learn some: conservator policy learn")
    return tuple(case for path in files for case in CaseFile(path).cases())


def _row(case: Case) -> dict[str, object]:
    return {
        "condition": str(case.condition),
        "side": case.condition.side,
        "steps": " + ".join(map(str, case.steps)),
        "gain": case.gain,
        "error": case.error,
        "accepted": case.accepted,
        "seconds": case.seconds,
    }


def _text(rows: list[dict[str, object]], suffix: str) -> str:
    if suffix == ".json":
        return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"
    if suffix == ".csv":
        import csv
        from io import StringIO

        stream = StringIO()
        writer = csv.DictWriter(stream, _FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return stream.getvalue()
    import yaml

    return yaml.safe_dump(rows, sort_keys=False, allow_unicode=True)
