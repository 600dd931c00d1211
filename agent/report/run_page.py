"""A run as one HTML page."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from conservator.agent.dialogue.wording import step_words
from conservator.agent.recipe import MixStep, Recipe, RecipeStep
from conservator.agent.report.comparison import compared, missing
from conservator.agent.report.nodes import attempt_nodes, label, who
from conservator.agent.report.page import template
from conservator.agent.report.pictures import Album, Samples, Shown
from conservator.agent.report.record import RunRecord
from conservator.agent.report.tables import (
    asked_table,
    condition_table,
    guards_table,
    scores_table,
    seconds_table,
    tools_table,
)
from conservator.agent.report.words import outcome_words, story, target_lines
from conservator.agent.sessions import RunRequest
from conservator.policies.attempt import ORIGINAL

__all__ = ["STYLE", "RunMaterial", "Step", "file_name", "named_steps", "run_page"]

STYLE: Final = "run.css"
_FOLDER: Final = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class RunMaterial:
    """What the page of a run is made from.

    Attributes:
        record: what it did.
        request: what was asked for; None where only the report is left.
        folder: the run folder; None where there is none.
        pictures: node -> pixels, as far as they are there.
        earlier: content hash -> data URI of a preview in an earlier page.
    """

    record: RunRecord
    request: RunRequest | None = None
    folder: Path | None = None
    pictures: Mapping[str, Samples] = field(default_factory=dict, repr=False)
    earlier: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Step:
    """A step of a recipe: what is done, and the prompt that it became."""

    words: str
    prompt: str
    weights: str


def run_page(material: RunMaterial) -> tuple[str, Album]:
    """The page, and the pictures that are in it and that are not.

    Raises:
        BackendMissingError: jinja2 is not installed.
    """
    record, request, folder = material.record, material.request, material.folder
    album = _filled(material)
    names = {
        node: label(node, record.attempts, record.best)
        for node in (ORIGINAL, *(attempt.id for attempt in record.attempts))
    }
    thumbnails = {
        node: small for node, name in names.items() if (small := album.thumbnail(name)) is not None
    }
    other = _other(record, thumbnails)
    steps = record.steps
    measurement, verdict = record.measurement, steps[-1].verdict if steps else None
    after = record.after if steps else None
    tables = [
        condition_table(record.before, after),
        scores_table(record.scores_before, record.scores if steps else None),
    ]
    if measurement is not None and measurement.guards is not None:
        checks = () if verdict is None else verdict.checks
        tables.append(guards_table(measurement.guards, checks))
    page = template(_FOLDER, "run.html.j2", STYLE)
    html = page.render(
        file=file_name(request),
        folder="" if folder is None else folder.name,
        title=outcome_words(record),
        story=list(story(record)),
        facts=_facts(record),
        targets=target_lines(record, request),
        targets_asked=request is None or bool(request.targets or record.contract),
        notes=list(_notes(record)),
        said=[str(one.get("words", "")) for one in record.said],
        question=_json(record.question) if record.question else "",
        compared=compared(album, names, material.pictures, other, file=file_name(request)),
        missing=list(missing(album)),
        nodes=attempt_nodes(
            record.attempts, record.best, thumbnails, before=record.before.findings
        ),
        planned=[str(call) for call in record.planned],
        tables=[table for table in tables if table.lines or table.note],
        scene=record.before.scene,
        vlm=record.vlm,
        asked=None if record.vlm is None else asked_table(record.vlm.asked),
        seconds=seconds_table(record.timing),
        parts_counted=_json(dict(record.timing.parts)),
        steps=named_steps(record.recipe),
        replay=_replay(folder),
        recipe=_json(record.recipe.model_dump(mode="json")),
        tools=tools_table(record.attempts),
        asked_for=list(_asked_for(record, request)),
        policy="" if request is None else _json(request.preset.model_dump(mode="json")),
        resume=_resume(record, folder),
    )
    return html, album


def file_name(request: RunRequest | None) -> str:
    """The photo's name."""
    if request is None:
        return "a photo"
    return "pixels without a file" if request.input is None else request.input.name


def named_steps(recipe: Recipe) -> tuple[Step, ...]:
    """A recipe for people."""

    def words(step: RecipeStep | MixStep) -> Step:
        if isinstance(step, MixStep):
            return Step(step_words(step), "", "")
        return Step(step_words(step), step.rendered_prompt, step.weights_sha256 or "")

    return tuple(words(step) for step in recipe.steps)


def _filled(material: RunMaterial) -> Album:
    record, request = material.record, material.request
    album = Album(earlier=material.earlier)
    pictures = material.pictures
    # Without a request nobody knows the input's hash; its name does then.
    key = record.recipe.input_id if request is None else request.input_id
    album.add(label(ORIGINAL, (), ""), key or ORIGINAL, pictures.get(ORIGINAL))
    for attempt in record.attempts:
        if attempt.artifact:
            name = label(attempt.id, record.attempts, record.best)
            album.add(name, attempt.artifact, pictures.get(attempt.id))
    return album


def _other(record: RunRecord, there: Mapping[str, Shown]) -> str:
    """What the input is compared with first: the result, else the attempt that came nearest to being one."""
    if record.best != ORIGINAL:
        return record.best
    tried = [attempt for attempt in record.attempts if attempt.id in there]
    return max(tried, key=lambda attempt: attempt.gain).id if tried else ORIGINAL


def _facts(record: RunRecord) -> list[tuple[str, str, str]]:
    spent, decided = record.spent, record.decided
    trials = f"and {spent.trials} on a piece of the photo" if spent.trials else ""
    facts = [
        ("policy", record.policy, ""),
        ("time", f"{record.timing.total:.1f} s", f"in restorers {record.timing.restorers:.1f} s"),
        ("restorer calls", str(spent.tools), trials),
    ]
    if spent.vlm_calls:
        facts.append(("model calls", str(spent.vlm_calls), f"{spent.vlm_tokens} tokens"))
    by = [f"{what} by {who(name)}" for what, name in decided.items() if what != "plan"]
    facts.append(("planned by", who(decided.get("plan", record.decided_by)), "; ".join(by)))
    measurement = record.measurement
    if measurement is not None and measurement.gain is not None:
        gain = measurement.gain
        facts.append(("expected gain", f"{gain.psnr:+.1f} dB", f"± {gain.spread:.1f}"))
    return facts


def _notes(record: RunRecord) -> Iterator[str]:
    yield from record.notes
    if record.limit is not None:
        yield f"The limit of {record.limit} was reached."
    fallbacks = {
        str(fallback)
        for attempt in record.attempts
        for fallback in attempt.details.get("fallbacks") or ()
    }
    yield from sorted(fallbacks)


def _asked_for(record: RunRecord, request: RunRequest | None) -> Iterator[tuple[str, str]]:
    if record.recipe.input_id:
        yield "input, sha256", record.recipe.input_id
    yield "conservator", record.recipe.conservator
    if request is None:
        return
    budget = request.budget
    limits = [
        f"{value:g} {name}"
        for name, value in (("seconds", budget.max_seconds), ("restorer calls", budget.max_tools))
        if value is not None
    ]
    yield "seed", str(request.seed)
    yield "targets", request.targets or "the policy's"
    yield "limits", ", ".join(limits) or "none"
    yield "device", request.device
    yield "result", "none" if request.output is None else request.output.name


def _replay(folder: Path | None) -> str:
    source = "recipe.json" if folder is None else shlex.quote(folder.name)
    return f"conservator replay {source} PHOTO..."


def _resume(record: RunRecord, folder: Path | None) -> str:
    if folder is None or record.outcome not in ("unfinished", "limit", "cancelled", "stopped"):
        return ""
    return f"conservator sessions resume {shlex.quote(folder.name)}"


def _json(data: Any) -> str:
    return json.dumps(data, indent=1, ensure_ascii=False)
