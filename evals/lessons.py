"""What an eval run teaches: the treatments that its systems gave, with their true gains.

A system that was led by the clean picture teaches nothing that can be known without it, so ceilings are left out; so are restorers with other
weights or another guide, and answers without steps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from conservator.evals.log import RunFolder, slug
from conservator.evals.sample import AnswerRecord
from conservator.evals.summary import UNTOUCHED
from conservator.policies.cases import Case, Condition, Lesson, Step
from conservator.restorers import catalog
from conservator.restorers.degradations.vocabulary import Kind, kind_named
from conservator.restorers.errors import ConservatorError, UsageError

__all__ = ["lessons_of_run"]

_STEP: Final = re.compile(r"(?P<call>.+?\))(?: on \S+?)?(?:, (?P<share>\d+)% blended)?")


def lessons_of_run(folder: Path) -> Iterator[Lesson]:
    """One lesson for each answer with known steps and a known gain.

    The condition is what the agent found, where it answered the same sample; else the kept degraded picture is inspected (a fifth of a second
    each). A sample with neither is left out.

    Raises:
        UsageError: there is no eval run in the folder.
    """
    run = RunFolder.open(folder)
    samples: dict[str, list[AnswerRecord]] = {}
    for record in run.records():
        samples.setdefault(record.sample_id, []).append(record)
    for name, records in samples.items():
        before = next((r.scores.get("psnr") for r in records if r.system == UNTOUCHED), None)
        taught = [(r, steps) for r in records if (steps := _steps(r)) and "psnr" in r.scores]
        condition = _condition(records, run.path) if taught and before is not None else None
        if condition is None or before is None:
            continue
        for record, steps in taught:
            case = Case(
                condition=condition,
                steps=steps,
                gain=record.scores["psnr"] - before,
                seconds=record.cost.seconds,
            )
            digest = f"{name}/{record.system}/{record.digest}"
            yield Lesson(digest, f"{name}, {record.system}", (case,))


def _steps(record: AnswerRecord) -> tuple[Step, ...]:
    """What a system did; empty where that is not known, or not its own idea."""
    name, _, options = record.system.partition(":")
    led = name == "oracle" or (name == "classical" and "text=inspected" not in options)
    if led or "weights=" in options or "guide=" in options:
        return ()
    steps, prompt = record.details.get("steps"), record.details.get("prompt")
    try:
        if isinstance(steps, list):
            return tuple(_step(str(step)) for step in steps)
        if isinstance(prompt, Mapping):
            return _called("llmra" if name == "inspected" else name, prompt, record.details)
    except ConservatorError:
        return ()
    return ()


def _step(text: str) -> Step:
    """`llmra(noise=25, jpeg=20) on original, 60% blended` as a step."""
    found = _STEP.fullmatch(text)
    if found is None:
        raise UsageError(f"{text!r} is not a step")
    share = "" if found["share"] is None else f" x{int(found['share']) / 100:g}"
    return Step.parse(found["call"].replace(", ", ",") + share)


def _called(name: str, prompt: Mapping[str, Any], details: Mapping[str, Any]) -> tuple[Step, ...]:
    asked = {kind_named(kind): float(value) for kind, value in prompt.items()}
    if name not in catalog.cards() or not (asked or details.get("blind")):
        return ()
    strengths = tuple((kind, asked[kind]) for kind in Kind if kind in asked)
    return (Step(name, strengths, bool(details.get("blind"))),)


def _condition(records: list[AnswerRecord], folder: Path) -> Condition | None:
    """What was found on a sample; None where nobody wrote it down and its picture was not kept."""
    for record in records:
        found = record.details.get("condition")
        if isinstance(found, Mapping):
            return Condition.parse(str(found.get("seen", "")), int(found.get("side", 0)))
    row, _, rest = records[0].sample_id.rpartition("/")
    path = folder / "images" / slug(row) / slug(rest) / "degraded.png"
    if not path.is_file():
        return None
    from conservator.tools.image_io import load
    from conservator.tools.instruments import measure

    pixels = load(path).pixels
    return Condition.of(measure(pixels), min(pixels.shape[:2]))
