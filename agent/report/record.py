"""What a report is made from: `report.json` of a run, and the checkpoint of one that has not ended."""

from __future__ import annotations

import json
import shlex
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from conservator.agent.recipe import Recipe, recipe_of
from conservator.agent.result import Timing, VlmRecord
from conservator.agent.sessions import THREAD, RunFolder
from conservator.policies.acceptance import Measurement
from conservator.policies.attempt import ORIGINAL, Attempt, ToolCall, chain_of
from conservator.policies.budget import Spent
from conservator.policies.targets import Clause
from conservator.restorers.degradations.vocabulary import ConditionReport
from conservator.restorers.errors import OutputError, UsageError

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

    from conservator.agent.state import RunState

__all__ = ["REPORT_FILE", "UNFINISHED", "RunRecord", "damaged", "read_record", "record_from"]

REPORT_FILE: Final = "report.json"
UNFINISHED: Final = "unfinished"
_GIVE: Final = f"give a run folder, a session's folder or a {REPORT_FILE}"


class RunRecord(BaseModel):
    """A run as `report.json` tells it; the attributes are those of `RestorationResult`.

    Attributes:
        outcome: as there, or `unfinished`.
        said: what the user said during the run, as JSON data.
        question: what a waiting run asks, as JSON data.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="constants")

    outcome: str
    reason: str
    policy: str
    decided_by: str = "policy"
    decided: Mapping[str, str] = {}
    vlm: VlmRecord | None = None
    path: Path | None = None
    run_dir: Path | None = None
    before: ConditionReport
    after: ConditionReport
    scores_before: Mapping[str, float] = {}
    scores: Mapping[str, float] = {}
    best: str = ORIGINAL
    attempts: tuple[Attempt, ...] = ()
    planned: tuple[ToolCall, ...] = ()
    recipe: Recipe
    blocking: tuple[str, ...] = ()
    contract: tuple[Clause, ...] = ()
    limit: str | None = None
    notes: tuple[str, ...] = ()
    said: tuple[Mapping[str, Any], ...] = ()
    question: Mapping[str, Any] | None = None
    spent: Spent = Spent()
    timing: Timing

    @model_validator(mode="after")
    def _is_a_tree(self) -> RunRecord:
        known = {ORIGINAL}
        for attempt in self.attempts:
            if attempt.call.source not in known:
                raise ValueError(f"attempt {attempt.id} starts from {attempt.call.source!r}")
            known.add(attempt.id)
        if self.best not in known:
            raise ValueError(f"no attempt {self.best!r}")
        return self

    @property
    def steps(self) -> tuple[Attempt, ...]:
        """The attempts from the input to the best node."""
        return chain_of(self.attempts, self.best)

    @property
    def measurement(self) -> Measurement | None:
        """Of the best node; None for the input."""
        steps = self.steps
        return steps[-1].measurement if steps else None


def record_from(data: object, source: Path, remedy: str = _GIVE) -> RunRecord:
    """A run's JSON data as a record.

    Args:
        data: of `report.json`.
        source: the file, for the message.
        remedy: what to do where it is no report.

    Raises:
        UsageError: it is no report of a run.
    """
    try:
        return RunRecord.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the data"
        raise damaged(source, f"{where}: {first['msg']}", remedy) from error


def read_record(folder: RunFolder) -> RunRecord:
    """The run of a folder, ended or not.

    Raises:
        UsageError: its files are damaged.
    """
    path = folder.path / REPORT_FILE
    again = f"make it again with: conservator sessions resume {shlex.quote(str(folder.path))}"
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return _from_checkpoint(folder)
    except OSError as error:
        raise damaged(path, error.strerror or str(error), again) from error
    try:
        data = json.loads(text)
    except ValueError as error:
        raise damaged(path, "no JSON", again) from error
    return record_from(data, path, again)


def damaged(path: Path, why: str, remedy: str = _GIVE) -> UsageError:
    """The error for a file that does not read."""
    return UsageError(f"{str(path)!r} does not read ({why}); {remedy}")


def _from_checkpoint(folder: RunFolder) -> RunRecord:
    """A run that was interrupted, or is under way."""
    from conservator import __version__
    from conservator.agent.delivery import report_after
    from conservator.agent.prompts import prompts_sha256

    request, state = folder.read_request(), _last_state(folder)
    attempts, best, baseline = tuple(state["attempts"]), state["best"], state["baseline"]
    before = state["report"] or ConditionReport()
    scores_before = {} if baseline is None else baseline.scores
    chain = chain_of(attempts, best)
    measurement = chain[-1].measurement if chain else None
    vlm = None
    if asked := state["asked"]:
        vlm = VlmRecord(model="", prompts_sha256=prompts_sha256(), asked=asked)
    return RunRecord(
        outcome=UNFINISHED,
        reason="the run was interrupted, or is under way",
        policy=request.preset.name,
        decided_by=chain[-1].call.decided_by if chain else state["decided_by"],
        vlm=vlm,
        run_dir=folder.path,
        before=before,
        after=report_after(state) if chain else before,
        scores_before=scores_before,
        scores=scores_before if measurement is None else measurement.scores,
        best=best,
        attempts=attempts,
        planned=state["queue"],
        recipe=recipe_of(
            attempts,
            best,
            version=__version__,
            input_id=request.input_id,
            policy=request.preset.name,
        ),
        notes=state["notes"],
        spent=state["spent"],
        timing=Timing.of(state["timing"], state["spent"].seconds),
    )


def _last_state(folder: RunFolder) -> RunState:
    """The last checkpoint; a first state where the run was killed before one.

    Raises:
        UsageError: the checkpoints are damaged.
    """
    from conservator.agent.graph import compile_graph
    from conservator.agent.state import first_state

    path = folder.path / "checkpoints.sqlite"
    if not path.is_file():
        return first_state()
    config: RunnableConfig = {"configurable": {"thread_id": THREAD}}
    try:
        with folder.checkpointer() as checkpointer:
            values = compile_graph(checkpointer).get_state(config).values
    except (sqlite3.Error, OutputError) as error:
        raise damaged(path, "no checkpoints", "start a new run") from error
    return cast("RunState", {**first_state(), **values})
