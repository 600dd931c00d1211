"""One process's share of a run: the graph taken to its end, its questions put to the caller, the result told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Event as Signal
from typing import TYPE_CHECKING, Any, Final, cast

from conservator.agent.approval import Asking, Question
from conservator.agent.context import CancelSignal, RunContext
from conservator.agent.delivery import (
    concluded,
    deliver,
    final_picture,
    final_recipe,
    report_after,
)
from conservator.agent.events import (
    ApprovalAsked,
    ApprovalGiven,
    Event,
    OnEvent,
    RunFinished,
    RunResumed,
    RunStarted,
)
from conservator.agent.experience import open_experience
from conservator.agent.options import Options
from conservator.agent.result import RestorationResult, Timing, VlmRecord
from conservator.agent.sessions import THREAD, RunFolder, RunRequest
from conservator.agent.settings import Settings
from conservator.agent.state import RunState, first_state
from conservator.agent.steering import StoppedError
from conservator.policies.acceptance import Direction
from conservator.policies.attempt import chain_of
from conservator.policies.budget import BudgetClock
from conservator.policies.contract import Contract
from conservator.policies.preferences import load_preferences
from conservator.policies.stopping import Broken
from conservator.restorers import catalog
from conservator.restorers.degradations.vocabulary import ConditionReport
from conservator.restorers.errors import CancelledError, OutputError
from conservator.tools.image_io import Picture

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.graph.state import CompiledStateGraph
    from langgraph.types import Command

    _Graph = CompiledStateGraph[RunState, RunContext, RunState, RunState]

__all__ = ["Run"]

_RESUMABLE: Final = ("cancelled", "limit", "stopped", "waiting")


class Run:
    """One process's share of a run."""

    def __init__(
        self,
        request: RunRequest,
        picture: Picture,
        folder: RunFolder,
        settings: Settings,
        options: Options,
        contract: Contract,
        directions: Mapping[str, Direction],
    ) -> None:
        self._request, self._picture, self._folder = request, picture, folder
        self._settings, self._options = settings, options
        self._contract, self._directions = contract, directions
        self._question: Question | None = None

    def see_through(
        self,
        on_event: OnEvent | None,
        cancel: Signal | None,
        *,
        seconds_before: float,
        resumed: bool,
    ) -> RestorationResult:
        """Run the graph to its end, or to the caller's wish to stop."""
        from conservator.agent.graph import compile_graph

        listener = on_event or _nobody
        config = self._config()
        asks = self._request.approve != "never"
        heeds = self._options.steering is not None and not self._request.dry_run
        with self._folder.checkpointer() as checkpointer:
            graph = compile_graph(checkpointer, heeds=heeds, asks=asks)
            earlier = self._kept(graph, config) if resumed else None
            spent = seconds_before + (earlier["spent"].seconds if earlier else 0.0)
            context = self._context(listener, cancel, spent)
            entry: RunState | None = None if earlier else first_state(dry_run=self._request.dry_run)
            if earlier and _may_go_on(earlier, context):
                fresh = {"limit": None, "conclusion": None, "queue": (), "exhausted": False}
                graph.update_state(config, fresh, as_node="judge")
            if earlier and asks and _unasked(earlier, graph.get_state(config).next):
                graph.update_state(config, {}, as_node="plan")
            broken: Broken | None = None
            try:
                self._announce(context, earlier)
                if entry is not None or not self._ended(graph, config):
                    broken = self._invoke_asking(graph, entry, config, context)
            except (CancelledError, KeyboardInterrupt):
                broken = "cancelled"
            except StoppedError:
                broken = "stopped"
            state = self._kept(graph, config) or first_state(dry_run=self._request.dry_run)
            result = self._result(state, context, broken=broken)
        context.emit(RunFinished, result=result)
        return result

    def _kept(self, graph: _Graph, config: RunnableConfig) -> RunState | None:
        """The state after the last node that was finished; None before the first checkpoint."""
        snapshot = graph.get_state(config)
        if snapshot.created_at is None:
            return None
        first = first_state(dry_run=self._request.dry_run)
        return cast("RunState", {**first, **snapshot.values})

    def _ended(self, graph: _Graph, config: RunnableConfig) -> bool:
        """Whether the run came to its end. A node that was finished and not checkpointed any more leaves nothing in `next` either."""
        state = self._kept(graph, config)
        return state is not None and state["conclusion"] is not None

    def can_go_on(self, error: BaseException) -> bool:
        """Whether a run that ended with an error is worth resuming: it had a question, or the disk was full."""
        resumable = self._question is not None or isinstance(error, OutputError)
        return resumable and not self._folder.temporary

    def _invoke_asking(
        self,
        graph: _Graph,
        entry: RunState | None,
        config: RunnableConfig,
        context: RunContext,
    ) -> Broken | None:
        """Run the graph, putting its questions to the caller; how the run was broken off, None when it came to its end.

        A run that is broken off at a question keeps it: it is asked again when the run is resumed.
        """
        from langgraph.types import Command

        ask = Asking(self._options.approver, self._options.answer)
        step: RunState | Command[Any] | None = entry
        while True:
            graph.invoke(step, config, context=context, durability="sync")
            interrupts = graph.get_state(config).interrupts
            if not interrupts:
                return None
            self._question = Question.model_validate(interrupts[0].value)
            context.emit(ApprovalAsked, question=self._question)
            with context.clock.standing():
                answer = ask(self._question)
            if answer is None:
                return "waiting"
            context.emit(ApprovalGiven, answer=answer)
            if answer.what == "stop":
                return "stopped"
            step = Command(resume=answer.model_dump(mode="json"))

    def _config(self) -> RunnableConfig:
        # Inspect, plan, finish, and for each attempt at most act, score, judge, plan; each restorer fails at most once.
        # Heed and approve stand before plan and act; each answer begins a new count.
        attempts = self._request.preset.max_attempts + len(catalog.cards())
        steps = 8 + 8 * (attempts + 1)
        if self._options.steering is not None:
            # The caller may ask for more.
            steps *= 10
        return {"configurable": {"thread_id": THREAD}, "recursion_limit": steps}

    def _context(self, listener: OnEvent, cancel: Signal | None, spent: float) -> RunContext:
        seat = None
        model = self._options.vlm
        if model is not None and not isinstance(model, str):
            from conservator.agent.vlm.seat import Seat

            seat = Seat(model)
        return RunContext(
            request=self._request,
            picture=self._picture,
            folder=self._folder,
            preset=self._request.preset,
            targets=self._contract.targets,
            preferences=load_preferences(self._settings.preferences),
            experience=open_experience(self._request.preset.experience, self._settings),
            cards=catalog.cards(),
            directions=self._directions,
            clock=BudgetClock(
                self._request.budget, seconds_before=spent, clock=self._options.clock
            ),
            cancel=CancelSignal(cancel),
            emit_event=listener,
            contract=self._contract,
            seat=seat,
            steering=self._options.steering,
            device=self._request.device,
        )

    def _announce(self, context: RunContext, earlier: RunState | None) -> None:
        if earlier:
            context.emit(RunResumed, attempts=len(earlier["attempts"]), run_dir=self._folder.path)
        else:
            context.emit(
                RunStarted,
                width=self._picture.width,
                height=self._picture.height,
                policy=self._request.preset.name,
                run_dir=None if self._folder.temporary else self._folder.path,
            )

    def _result(
        self, state: RunState, context: RunContext, *, broken: Broken | None
    ) -> RestorationResult:
        folder = self._folder
        conclusion = state["conclusion"]
        if conclusion is None:
            conclusion = concluded(state, context, broken=broken)
            waiting = conclusion.outcome == "waiting"
            if state["report"] is not None and not context.request.dry_run and not waiting:
                deliver(state, context, conclusion)
        # Delivering may have found the output's name taken.
        request = context.request
        resumable = conclusion.outcome in _RESUMABLE and not request.dry_run
        if resumable and folder.temporary:
            # The caller learns of the folder by the result, so it must stay, with its request.
            folder.temporary = False
            folder.write_request(request)
        chain = chain_of(state["attempts"], state["best"])
        parts = dict(state["timing"])
        for name, seconds in context.drain().items():
            parts[name] = parts.get(name, 0.0) + seconds
        baseline = state["baseline"]
        scores_before = {} if baseline is None else dict(baseline.scores)
        measurement = chain[-1].measurement if chain else None
        before = state["report"] or ConditionReport()
        unwritten = ("waiting",) if chain else ("waiting", "cancelled")
        wrote = not request.dry_run and conclusion.outcome not in unwritten
        result = RestorationResult(
            outcome=conclusion.outcome,
            reason=conclusion.reason,
            path=request.output if wrote else None,
            run_dir=None if folder.temporary else folder.path,
            before=before,
            after=report_after(state) if chain else before,
            attempts=tuple(state["attempts"]),
            best=state["best"],
            scores=scores_before if measurement is None else dict(measurement.scores),
            scores_before=scores_before,
            recipe=final_recipe(state, context),
            spent=state["spent"].model_copy(update={"seconds": context.clock.elapsed()}),
            timing=Timing.of(parts, context.clock.elapsed()),
            decided_by=chain[-1].call.decided_by if chain else state["decided_by"],
            policy=request.preset.name,
            planned=tuple(state["queue"]),
            blocking=conclusion.blocking,
            contract=conclusion.clauses,
            limit=conclusion.limit,
            notes=(*state["notes"], *self._unheard()),
            vlm=_vlm_record(context, state),
            said=tuple(state["said"]),
            question=self._question if conclusion.outcome == "waiting" else None,
            picture=final_picture(state, context),
        )
        if not folder.temporary:
            from conservator.agent.report.writing import keep_page

            data = result.as_dict()
            folder.write_json("report.json", data)
            keep_page(folder, request, data, self._picture.pixels)
        if not resumable and not self._settings.keep_artifacts:
            folder.prune(attempt.artifact for attempt in chain)
        folder.discard()
        return result

    def _unheard(self) -> tuple[str, ...]:
        """What the caller said too late."""
        steering = self._options.steering
        words = () if steering is None else steering.unheard
        return tuple(
            f"{said.strip()!r}: said too late, nothing was to be done any more" for said in words
        )


def _vlm_record(context: RunContext, state: RunState) -> VlmRecord | None:
    """What the model contributed; None for a run without one."""
    if context.seat is None and not state["asked"]:
        return None
    from conservator.agent.prompts import prompts_sha256

    name = "" if context.seat is None else context.seat.name
    return VlmRecord(model=name, prompts_sha256=prompts_sha256(), asked=state["asked"])


def _unasked(earlier: RunState, following: Sequence[str]) -> bool:
    """Whether the next call was planned before anybody wanted to be asked."""
    return tuple(following) == ("act",) and not earlier.get("approved")


def _may_go_on(earlier: RunState, context: RunContext) -> bool:
    """Whether a new budget lets a run that ended at its limit go on where it stopped."""
    ended = earlier["limit"] is not None and earlier["conclusion"] is not None
    return ended and context.clock.limit(earlier["spent"]) is None


def _nobody(event: Event) -> None:
    """Hear an event and do nothing."""
