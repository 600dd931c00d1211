"""Where experience is kept, and what a finished run adds to it; only `conservator policy learn` adds anything."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from conservator.agent.sessions import RunFolder
from conservator.agent.settings import Settings, load_settings, state_folder
from conservator.policies.attempt import Attempt, chain_of
from conservator.policies.cases import Case, Condition, Lesson, Step
from conservator.policies.experience import SHIPPED, Experience, load_experience
from conservator.policies.preset import Preset
from conservator.restorers.degradations.vocabulary import ConditionReport
from conservator.restorers.errors import MissingFileError, UnknownNameError, UsageError

__all__ = [
    "experience_files",
    "experienced",
    "lesson_of_run",
    "open_experience",
    "own_file",
]

NONE: Final = "none"
AUTO: Final = "auto"
_SUFFIXES: Final = (".sqlite", ".sqlite3", ".db")


def own_file(settings: Settings | None = None) -> Path:
    """The user's own experience, which `conservator policy learn` makes and adds to."""
    return state_folder(settings or load_settings()) / "experience.sqlite"


def experience_files(spec: str, settings: Settings | None = None) -> tuple[Path, ...]:
    """The files that a specification names: `none`, `auto` (the shipped one and the user's own), or a file.

    Raises:
        UnknownNameError: it is none of these.
        MissingFileError: there is no such file.
    """
    if spec == NONE:
        return ()
    if spec == AUTO:
        return tuple(path for path in (SHIPPED, own_file(settings)) if path.is_file())
    path = Path(spec).expanduser()
    if path.suffix not in _SUFFIXES:
        raise UnknownNameError("experience", spec, (AUTO, NONE, f"a {_SUFFIXES[0]} file"))
    if not path.is_file():
        raise MissingFileError(
            f"no experience file {spec!r}; `conservator policy learn -o {spec}` makes one"
        )
    return (path.absolute(),)


def experienced(preset: Preset, given: str | Path | None, settings: Settings) -> Preset:
    """A policy with the experience that the caller gave, else the settings, else the policy itself.

    Raises:
        UnknownNameError: see `experience_files`.
    """
    spec = next(x for x in (given, settings.experience, preset.experience) if x is not None)
    files = experience_files(str(spec), settings)
    # A run that is resumed elsewhere must find the same file.
    kept = str(spec) if str(spec) in (NONE, AUTO) else str(files[0])
    return preset if kept == preset.experience else preset.model_copy(update={"experience": kept})


def open_experience(spec: str, settings: Settings | None = None) -> Experience | None:
    """What a specification names, read; None for no experience.

    Raises:
        UnknownNameError: see `experience_files`.
        UsageError: a file is no experience file.
    """
    files = experience_files(spec, settings)
    return load_experience(files) if files else None


def lesson_of_run(folder: Path) -> Lesson:
    """What a finished run shows: each candidate that was judged, from the input on.

    A candidate's gain is the gain network's estimate, with its expected error.

    Raises:
        UsageError: the run is unfinished, or its report is damaged.
    """
    report = RunFolder.open(folder).read_json("report.json")
    if report is None:
        raise UsageError("unfinished; finish it first")
    try:
        before = ConditionReport.model_validate(_known(report["before"]))
        attempts = tuple(Attempt.model_validate(one) for one in report["attempts"])
        input_id = str(report["recipe"]["input_id"])
    except (KeyError, TypeError, ValidationError) as error:
        first = str(error).splitlines()[0]
        raise UsageError(f"its report does not read: {first}") from error
    condition = Condition.of(before.findings, _side(folder, attempts))
    cases = tuple(_judged(attempts, condition))
    return Lesson(_digest_of(input_id, cases), folder.name, cases)


def _digest_of(name: str, cases: Sequence[Case]) -> str:
    """What tells sources apart: the picture, what was tried, and what came of it, however long that took."""
    timeless = [replace(case, seconds=0.0) for case in cases]
    return hashlib.sha256(repr((name, timeless)).encode()).hexdigest()[:32]


def _known(report: Mapping[str, Any]) -> dict[str, Any]:
    """A report without the levels in words that were added for readers."""
    findings = [
        {key: value for key, value in one.items() if key != "level"} for one in report["findings"]
    ]
    return {**report, "findings": findings}


def _judged(attempts: Sequence[Attempt], condition: Condition) -> Iterator[Case]:
    for attempt in attempts:
        measurement, verdict = attempt.measurement, attempt.verdict
        if measurement is None or verdict is None or measurement.gain is None:
            continue
        chain = chain_of(attempts, attempt.id)
        yield Case(
            condition=condition,
            steps=tuple(Step.of(one.call) for one in chain),
            gain=measurement.gain.psnr,
            error=measurement.gain.spread,
            accepted=verdict.accepted,
            seconds=sum(one.seconds for one in _made(chain, attempts)),
        )


def _made(chain: Iterable[Attempt], attempts: Sequence[Attempt]) -> Iterator[Attempt]:
    """The attempts whose tools were called for a chain; a blend takes the time of what it blends."""
    whole = {attempt.id: attempt for attempt in attempts}
    for attempt in chain:
        yield whole[attempt.call.reuses] if attempt.call.reuses else attempt


def _side(folder: Path, attempts: Sequence[Attempt]) -> int:
    """The shorter side of the pictures that the run keeps, px; 0 where it keeps none."""
    import numpy as np

    for attempt in attempts:
        path = folder / "artifacts" / f"{attempt.artifact}.npy"
        if attempt.artifact and path.is_file():
            try:
                return int(min(np.load(path, mmap_mode="r", allow_pickle=False).shape[:2]))
            except (OSError, ValueError):
                continue
    return 0
