"""What a run hands back: frozen, typed, and at home in a notebook."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from conservator.agent.recipe import Recipe
from conservator.agent.vlm.asked import Asked
from conservator.agent.wishes import Said
from conservator.policies.attempt import ORIGINAL, Attempt, DecidedBy, ToolCall, chain_of
from conservator.policies.budget import Limit, Spent
from conservator.policies.front import Standing, pareto_front
from conservator.policies.stopping import Outcome
from conservator.policies.targets import Clause
from conservator.restorers.degradations.vocabulary import ConditionReport, Level
from conservator.tools.image_io import Picture
from conservator.tools.look import Pixels

if TYPE_CHECKING:
    from PIL.Image import Image

    from conservator.agent.approval import Question
    from conservator.agent.pictures import ImageLike

__all__ = ["RestorationResult", "Timing", "VlmRecord"]


class VlmRecord(BaseModel):
    """What a run had from its vision-language model.

    Attributes:
        model: its name.
        prompts_sha256: of the texts of the questions, see `conservator.agent.prompts`.
        asked: the questions, in order, and what each came to.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    prompts_sha256: str
    asked: tuple[Asked, ...] = ()


class Timing(BaseModel):
    """Where the seconds went.

    Attributes:
        total: the whole run, all its sessions.
        restorers: inside restorers.
        loading: bringing weights into memory.
        instruments: measuring degradations.
        metrics: scoring quality, the comparison with the input included.
        vlm: waiting for a vision-language model.
        agent: everything else: the graph, checkpoints, artifacts, coding, the sheet.
        parts: all that was counted, by name; `node.*` contain the others.
    """

    model_config = ConfigDict(frozen=True)

    total: float
    restorers: float = 0.0
    loading: float = 0.0
    instruments: float = 0.0
    metrics: float = 0.0
    vlm: float = 0.0
    agent: float = 0.0
    parts: Mapping[str, float] = {}

    @classmethod
    def of(cls, parts: Mapping[str, float], total: float) -> Timing:
        """Sort counted seconds; what nobody else took, the agent took."""
        names = ("restorers", "loading", "instruments", "metrics", "vlm")
        shares = {name: round(parts.get(name, 0.0), 4) for name in names}
        shares["metrics"] += round(parts.get("guards", 0.0), 4)
        return cls(
            total=round(total, 4),
            **shares,
            agent=round(max(0.0, total - sum(shares.values())), 4),
            parts={name: round(seconds, 4) for name, seconds in sorted(parts.items())},
        )

    @property
    def overhead(self) -> float:
        """The agent's share of the run, [0, 1]."""
        return self.agent / self.total if self.total else 0.0


@dataclass(frozen=True, kw_only=True)
class RestorationResult:
    """How a run ended, with the picture and everything that led to it.

    Attributes:
        outcome: `met`, `not_met`, `unchanged`, `limit`, `cancelled`, `stopped` by a person, or `waiting` for one.
        reason: one line: what blocks the targets, which limit was reached, why the photo was left as it is.
        path: the file written, None when none was.
        run_dir: the run folder, None when it was a temporary one that is gone.
        before: condition report of the input.
        after: the same of the result; equal to `before` when the input was left as it is.
        attempts: the tree, in the order of making; `best` is the node that won.
        scores: no-reference metrics of the result.
        scores_before: the same of the input.
        recipe: the accepted steps.
        planned: what a dry run would have tried first.
        decided_by: who planned the steps that won.
        blocking: targets that are not met, one line each, and what the user asked for that refused a candidate.
        contract: each target, protected part and thing to keep that was asked for, whether it is met, and the measured number.
        limit: the budget that ended the run.
        notes: what went otherwise than planned.
        vlm: what a vision-language model was asked, and said; None for a run without one.
        said: words of the user's during the run that it followed.
        question: what a `waiting` run is asking; `resume(run_dir, answer=...)` goes on.
    """

    outcome: Outcome
    reason: str
    path: Path | None
    run_dir: Path | None
    before: ConditionReport
    after: ConditionReport
    attempts: tuple[Attempt, ...]
    best: str
    scores: Mapping[str, float]
    scores_before: Mapping[str, float]
    recipe: Recipe
    spent: Spent
    timing: Timing
    decided_by: DecidedBy
    policy: str
    planned: tuple[ToolCall, ...] = ()
    blocking: tuple[str, ...] = ()
    contract: tuple[Clause, ...] = ()
    limit: Limit | None = None
    notes: tuple[str, ...] = ()
    vlm: VlmRecord | None = None
    said: tuple[Said, ...] = ()
    question: Question | None = None
    picture: Picture = field(repr=False)

    @property
    def decided(self) -> dict[str, str]:
        """Who decided what: `condition` and `verdict` are the policy's, with `+vlm` where a model had a say; `plan` is the winner's.

        The report is the instruments' (`instruments`), or theirs with a model's findings worked in (`instruments+vlm`). The plan of a chain
        with steps of both is `policy+vlm`. The verdict on the result's steps is `policy`, or `policy+vlm` where a model gave its opinion.
        """
        answered = (
            {a.question for a in self.vlm.asked if a.status == "answered"} if self.vlm else set()
        )
        planners = sorted({step.call.decided_by for step in self.steps})
        judged = any(attempt.opinion is not None for attempt in self.attempts)
        return {
            "condition": "instruments+vlm" if "condition" in answered else "instruments",
            "plan": "+".join(planners) or self.decided_by,
            "verdict": "policy+vlm" if judged else "policy",
        }

    @property
    def changed(self) -> bool:
        """Whether the result differs from the input."""
        return self.best != ORIGINAL

    @property
    def array(self) -> Pixels:
        """The result, (H, W, 3), float32, [0, 1], RGB (sRGB-encoded); read-only, at the saved depth."""
        return self.picture.pixels

    @cached_property
    def image(self) -> Image:
        """The result as an 8-bit Pillow image, RGB, or RGBA when the input had transparency."""
        from conservator.agent.pictures import bitmap

        return bitmap(self.picture)

    @property
    def steps(self) -> tuple[Attempt, ...]:
        """The accepted attempts, from the input to the result."""
        return chain_of(self.attempts, self.best)

    @property
    def front(self) -> tuple[Standing, ...]:
        """What a person may prefer: the input and the candidates that no other one beats in both removal and fidelity."""
        return pareto_front(self.before.findings, self.attempts)

    def as_dict(self) -> dict[str, Any]:
        """JSON data: what `report.json` holds."""
        return {
            "outcome": self.outcome,
            "reason": self.reason,
            "policy": self.policy,
            "decided_by": self.decided_by,
            "decided": self.decided,
            "vlm": None if self.vlm is None else self.vlm.model_dump(mode="json"),
            "path": None if self.path is None else str(self.path),
            "run_dir": None if self.run_dir is None else str(self.run_dir),
            "before": _report_data(self.before),
            "after": _report_data(self.after),
            "scores_before": dict(self.scores_before),
            "scores": dict(self.scores),
            "best": self.best,
            "attempts": [attempt.model_dump(mode="json") for attempt in self.attempts],
            "front": [asdict(standing) for standing in self.front],
            "planned": [call.model_dump(mode="json") for call in self.planned],
            "recipe": self.recipe.model_dump(mode="json"),
            "blocking": list(self.blocking),
            "contract": [clause.model_dump(mode="json") for clause in self.contract],
            "limit": self.limit,
            "notes": list(self.notes),
            "said": [said.model_dump(mode="json") for said in self.said],
            "question": None if self.question is None else self.question.model_dump(mode="json"),
            "spent": self.spent.model_dump(mode="json"),
            "timing": self.timing.model_dump(mode="json"),
        }

    def html(self, image: ImageLike | None = None) -> str:
        """The run as one HTML page, see `conservator.write_report`."""
        from conservator.agent.report.writing import result_page

        return result_page(self, image)

    def _repr_png_(self) -> bytes:
        """The picture, for notebooks; at most 1024 px wide, so that a notebook stays small."""
        stream = BytesIO()
        small = self.image.copy()
        small.thumbnail((1024, 1024))
        small.save(stream, "PNG")
        return stream.getvalue()

    def _repr_html_(self) -> str:
        """A table of what was found, done and gained, for notebooks."""
        rows = []
        for finding in self.before.present():
            after = self.after.finding(finding.kind)
            then = "" if after is None else f"{after.level.label} ({after.value:.3g})"
            now = f"{finding.level.label} ({finding.value:.3g})"
            rows.append((finding.kind.value.replace("_", " "), now, then))
        for name, value in self.scores.items():
            before = self.scores_before.get(name)
            rows.append((name, "" if before is None else f"{before:.3g}", f"{value:.3g}"))
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
            for row in rows
        )
        steps = "".join(f"<li>{html.escape(str(step.call))}</li>" for step in self.steps)
        done = f"<ol>{steps}</ol>" if steps else ""
        return (
            f"<div><b>{html.escape(self.outcome.replace('_', ' '))}</b>: {html.escape(self.reason)}"
            f"{done}<table><tr><th></th><th>before</th><th>after</th></tr>{body}</table></div>"
        )


def _report_data(report: ConditionReport) -> dict[str, Any]:
    """A report with its levels in words, which the model derives and does not store."""
    data = report.model_dump(mode="json")
    for row, finding in zip(data["findings"], report.findings, strict=True):
        row["level"] = Level(finding.level).label
    return data
