"""What a session has come to, as rows: the original, each turn, and below a turn what its run tried.

Built from the session and its run folders, and kept up to date by events. Panels read it; nothing here knows of Textual.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from conservator.agent.tui.words import call_words
from conservator.policies.acceptance import Measurement, Verdict
from conservator.policies.attempt import ORIGINAL, Attempt, ToolCall

if TYPE_CHECKING:
    from conservator.agent.dialogue.session import Session
    from conservator.agent.dialogue.tree import Turn
    from conservator.agent.events import Event

__all__ = ["History", "Row", "Status"]

Status = Literal["original", "turn", "running", "made", "kept", "refused", "failed"]


@dataclass(frozen=True)
class Row:
    """A node: the original, a turn, or an attempt of a turn's run.

    Attributes:
        id: `original`, `t2`, or `t2/a1`.
        parent: the row it is shown below.
        name: in short, `t2` or `a1`.
        words: what it is.
        artifact: of an attempt: its picture in the run's folder, "" where it is not kept.
        measurement: None before it is scored.
        verdict: the joint rule's.
    """

    id: str
    parent: str
    name: str
    words: str
    status: Status
    artifact: str = ""
    measurement: Measurement | None = None
    verdict: Verdict | None = None
    error: str = ""

    @property
    def scores(self) -> Mapping[str, float]:
        """No-reference metrics, empty before it is scored."""
        return {} if self.measurement is None else self.measurement.scores

    @property
    def gain(self) -> float | None:
        """Estimated gain over the input in dB."""
        own = None if self.measurement is None else self.measurement.gain
        return None if own is None else own.psnr

    @property
    def why(self) -> str:
        """Why it was refused or failed, or what it gained."""
        return self.error or ("" if self.verdict is None else self.verdict.reason)


@dataclass
class History:
    """The rows of a session, and what its running turn is at.

    Attributes:
        rows: by id, in the order of making.
        turn: the turn that runs; "" between turns.
        plan: what the running turn is going to do, next first.
        best: the leading attempt of the running turn.
        baseline: the input as the running turn measured it.
        tools: restorers called in the running turn.
    """

    rows: dict[str, Row] = field(default_factory=dict)
    turn: str = ""
    plan: tuple[ToolCall, ...] = ()
    best: str = ORIGINAL
    baseline: Measurement | None = None
    tools: int = 0

    def read(self, session: Session) -> None:
        """Take everything from a session that rests."""
        baseline = session.baseline
        self.rows = {
            ORIGINAL: Row(ORIGINAL, "", ORIGINAL, "as it came in", "original", measurement=baseline)
        }
        for turn in session.tree.turns:
            self.rows[turn.id] = _turn_row(turn)
            if turn.run:
                for row in _attempt_rows(session, turn):
                    self.rows[row.id] = row
        self.turn, self.plan, self.best, self.tools = "", (), ORIGINAL, 0
        self.baseline = baseline

    def hear(self, event: Event) -> None:
        """Take up an event of the running turn."""
        from conservator.agent import events

        match event:
            case events.TurnStarted(turn=turn):
                self.turn, self.best, self.tools, self.plan = turn, ORIGINAL, 0, ()
            case events.Inspected(baseline=baseline):
                self.baseline = baseline
                original = self.rows.get(ORIGINAL)
                if original is not None and original.measurement is None:
                    self.rows[ORIGINAL] = replace(original, measurement=baseline)
            case events.Planned(calls=calls):
                self.plan = calls
            case events.ToolStarted(attempt=name, call=call):
                self.plan = self.plan[1:] if self.plan and self.plan[0] == call else self.plan
                self.tools += call.calls_tool
                self._put(Row(self._id(name), self.turn, name, call_words(call), "running"))
            case events.ToolFinished(attempt=name, error=error):
                self._change(name, status="failed" if error else "made", error=error)
            case events.Scored(attempt=name, measurement=measurement):
                self._change(name, measurement=measurement)
            case events.Judged(attempt=name, verdict=verdict, best=best):
                self.best = best
                self._change(
                    name, verdict=verdict, status="kept" if verdict.accepted else "refused"
                )

    @property
    def leading(self) -> Measurement | None:
        """The measurement of what would be the result of the running turn."""
        row = self.rows.get(self._id(self.best))
        return self.baseline if row is None else row.measurement

    def below(self, parent: str) -> Iterator[Row]:
        """The attempts of a turn."""
        return (row for row in self.rows.values() if row.parent == parent and "/" in row.id)

    def scored(self) -> list[Row]:
        """The rows that were measured, in the order of making; the attempt that became its turn's result is told as the turn."""
        rows = []
        for row in self.rows.values():
            turn = self.rows.get(row.parent) if "/" in row.id else None
            if row.measurement is not None and (
                turn is None or turn.measurement != row.measurement
            ):
                rows.append(row)
        return rows

    def dropped(self) -> None:
        """The running turn came to nothing."""
        self.rows = {i: r for i, r in self.rows.items() if not i.startswith(f"{self.turn}/")}
        self.turn, self.plan = "", ()

    def _id(self, attempt: str) -> str:
        return f"{self.turn}/{attempt}"

    def _put(self, row: Row) -> None:
        self.rows[row.id] = row

    def _change(self, attempt: str, **change: object) -> None:
        row = self.rows.get(self._id(attempt))
        if row is not None:
            self.rows[row.id] = replace(row, **change)  # type: ignore[arg-type]


def _turn_row(turn: Turn) -> Row:
    words = "restore" if turn.instruction == "restore" else f"\u201c{turn.words}\u201d"
    return Row(
        turn.id,
        turn.parent,
        turn.id,
        words,
        "turn",
        measurement=turn.measurement,
        verdict=turn.verdict,
    )


def _attempt_rows(session: Session, turn: Turn) -> Iterator[Row]:
    """What the run of a turn tried; nothing where its report is gone."""
    from conservator.agent.sessions import RunFolder

    folder = RunFolder(session.run_dir / turn.run)
    report = folder.read_json("report.json")
    for data in () if report is None else report["attempts"]:
        attempt = Attempt.model_validate(data)
        status: Status = "kept" if attempt.accepted else "refused"
        there = attempt.artifact and folder.has_artifact(attempt.artifact)
        yield Row(
            f"{turn.id}/{attempt.id}",
            turn.id,
            attempt.id,
            call_words(attempt.call),
            "failed" if attempt.status == "failed" else status,
            artifact=attempt.artifact if there else "",
            measurement=attempt.measurement,
            verdict=attempt.verdict,
            error=attempt.error,
        )
