"""One run from request to result: the only implementation behind restore, arestore, stream, astream and resume."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event as Signal
from typing import TYPE_CHECKING, Any, Final, cast

from conservator.agent.approval import Answer, Approver, Asking, Question, checked_approve
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
from conservator.agent.experience import experienced, open_experience
from conservator.agent.pictures import ImageLike, picture_from
from conservator.agent.placing import DELIVERED
from conservator.agent.result import RestorationResult, Timing, VlmRecord
from conservator.agent.sessions import THREAD, RunFolder, RunRequest
from conservator.agent.settings import Settings, load_settings
from conservator.agent.state import RunState, first_state
from conservator.agent.steering import Steering, StoppedError
from conservator.policies.acceptance import Direction
from conservator.policies.attempt import chain_of
from conservator.policies.budget import Budget, BudgetClock, Clock
from conservator.policies.contract import Contract, Terms, contract_of, terms_of
from conservator.policies.preferences import load_preferences
from conservator.policies.preset import Preset, load_preset
from conservator.policies.stopping import Broken
from conservator.policies.targets import Target
from conservator.restorers import catalog
from conservator.restorers.degradations.vocabulary import ConditionReport
from conservator.restorers.errors import (
    CancelledError,
    InputError,
    OutputError,
    UnknownNameError,
    UsageError,
)
from conservator.tools.image_io import Picture, content_hash, default_output
from conservator.tools.image_io.formats import target_format

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.runnables import RunnableConfig
    from langgraph.graph.state import CompiledStateGraph
    from langgraph.types import Command

    _Graph = CompiledStateGraph[RunState, RunContext, RunState, RunState]

__all__ = [
    "Options",
    "begin",
    "checked_device",
    "go_on",
    "input_again",
    "metric_directions",
    "vlm_spec",
]

_RESUMABLE: Final = ("cancelled", "limit", "stopped", "waiting")
_DEVICE: Final = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


@dataclass(frozen=True, kw_only=True)
class Options:
    """The arguments of `conservator.restore`; see there.

    Attributes:
        writes: write a picture beside an input that is a file, where no output is named.
        suffix: format in which candidates are scored where no picture is written.
        answer: to the first question, where it is there before the question.
        clock: monotonic seconds.
    """

    policy: str | Path | Preset = "balanced"
    experience: str | Path | None = None
    targets: str | Sequence[Target] | None = None
    protect: str | Sequence[str] | None = None
    keep: str | Sequence[str] | None = None
    max_seconds: float | None = None
    max_tools: int | None = None
    seed: int = 0
    output: str | Path | None = None
    overwrite: bool = False
    writes: bool = True
    suffix: str | None = None
    run_dir: str | Path | None = None
    dry_run: bool = False
    device: str | None = None
    vlm: BaseChatModel | str | None = None
    approve: str = "never"
    approver: Approver | None = None
    answer: Answer | str | None = None
    steering: Steering | None = None
    clock: Clock = time.monotonic


def begin(
    image: ImageLike, options: Options, *, on_event: OnEvent | None, cancel: Signal | None
) -> RestorationResult:
    """Start a run and see it through."""
    settings = load_settings()
    preset = experienced(load_preset(options.policy), options.experience, settings)
    directions = metric_directions()
    terms = terms_of(
        preset,
        targets=options.targets,
        protect=options.protect,
        keep=options.keep,
        metrics=directions,
    )
    clock_from = options.clock()
    picture = picture_from(image, settings)
    contract = contract_of(terms, width=picture.width, height=picture.height, metrics=directions)
    preset = contract.leaving(preset)
    output = _output(image, options)
    request = RunRequest(
        input=Path(image).absolute() if isinstance(image, (str, Path)) else None,
        input_id=picture.sha256 or content_hash(picture.pixels),
        preset=preset,
        targets=terms.targets,
        protect=terms.protect,
        keep=terms.keep,
        budget=_budget(options, preset),
        seed=options.seed,
        output=output,
        overwrite=options.overwrite,
        named_by_us=options.output is None,
        suffix=output.suffix if output is not None else options.suffix or ".png",
        device=checked_device(options.device or settings.device),
        dry_run=options.dry_run,
        vlm=vlm_spec(options.vlm, settings),
        approve=checked_approve(options.approve),
    )
    if options.approver is not None and request.approve == "never":
        raise UsageError(
            "an approver is asked with approve='plan' or 'each' only; give one of them"
        )
    options = _seated(options, request, settings)
    folder = _new_folder(request, options, settings)
    session: _Session | None = None
    with folder.locked():
        try:
            if not folder.temporary:
                folder.write_request(request)
            if request.input is None:
                folder.write_input(picture)
            session = _Session(request, picture, folder, settings, options, contract, directions)
            before = options.clock() - clock_from
            return session.run(on_event, cancel, seconds_before=before, resumed=False)
        except BaseException as error:
            if session is None or not session.can_go_on(error):
                folder.discard_unused()
            raise


def go_on(
    run_dir: Path,
    *,
    on_event: OnEvent | None,
    cancel: Signal | None,
    max_seconds: float | None,
    max_tools: int | None,
    vlm: BaseChatModel | str | None,
    approve: str | None = None,
    approver: Approver | None = None,
    answer: Answer | str | None = None,
    steering: Steering | None = None,
    clock: Clock = time.monotonic,
) -> RestorationResult:
    """Continue a run from its last checkpoint; a finished one gives its result again."""
    settings = load_settings()
    folder = RunFolder.open(run_dir)
    with folder.locked():
        earlier = request = folder.read_request()
        given = {"max_seconds": max_seconds, "max_tools": max_tools}
        changed = {name: value for name, value in given.items() if value is not None}
        if changed:
            budget = Budget.model_validate({**request.budget.model_dump(), **changed})
            request = request.model_copy(update={"budget": budget})
        if approve is not None:
            request = request.model_copy(update={"approve": checked_approve(approve)})
        if request != earlier:
            folder.write_request(request)
        picture = input_again(request, folder, settings)
        directions = metric_directions()
        terms = Terms(targets=request.targets, protect=request.protect, keep=request.keep)
        contract = contract_of(
            terms, width=picture.width, height=picture.height, metrics=directions
        )
        given_vlm = request.vlm if vlm == "auto" else vlm
        given_options = Options(
            vlm=given_vlm, approver=approver, answer=answer, steering=steering, clock=clock
        )
        options = _seated(given_options, request, settings)
        session = _Session(request, picture, folder, settings, options, contract, directions)
        return session.run(on_event, cancel, seconds_before=0.0, resumed=True)


def vlm_spec(given: BaseChatModel | str | None, settings: Settings) -> str:
    """What is kept in the request of the vision-language model: an `auto` resolved, so that a resumed run has the same."""
    if not isinstance(given, str):
        return "none"
    from conservator.agent.vlm.opening import resolved_spec

    return resolved_spec(given, settings)


def _seated(options: Options, request: RunRequest, settings: Settings) -> Options:
    """The options with a chat model, or none, in place of a specification."""
    if not isinstance(options.vlm, str):
        return options
    from conservator.agent.vlm.opening import open_vlm

    spec = request.vlm if options.vlm == "auto" else options.vlm
    return replace(options, vlm=open_vlm(spec, settings, device=request.device))


def metric_directions() -> dict[str, Direction]:
    """No-reference metrics that can run here -> which way is better."""
    from conservator.tools import iqa

    ready = iqa.available()
    return {
        name: card.direction
        for name, card in iqa.METRICS.items()
        if not card.needs_reference and ready[name].ready
    }


def _budget(options: Options, preset: Preset) -> Budget:
    def chosen(own: Any, default: Any) -> Any:
        return default if own is None else own

    return Budget(
        max_seconds=chosen(options.max_seconds, preset.max_seconds),
        max_tools=chosen(options.max_tools, preset.max_tools),
    )


def checked_device(name: str) -> str:
    """A device's name; whether it is there shows when it is used, because looking takes torch.

    Raises:
        UnknownNameError: no device is called that.
    """
    if _DEVICE.fullmatch(name) is None:
        raise UnknownNameError("device", name, ("auto", "cpu", "cuda", "cuda:N", "mps"))
    return name


def _output(image: ImageLike, options: Options) -> Path | None:
    """Where the result goes; refuses at once what would be refused after the work.

    Raises:
        UnknownNameError: a suffix that is not written.
        OutputError: it exists, or its folder is not there.
    """
    if options.output is None:
        if options.dry_run or not options.writes or not isinstance(image, (str, Path)):
            return None
        return default_output(Path(image).absolute())
    target = Path(options.output).absolute()
    target_format(target.suffix)
    if not target.parent.is_dir():
        raise OutputError(f"{target}: {target.parent} is not a folder; create it first")
    if target.exists() and not options.overwrite:
        raise OutputError(f"{target}: exists; pass overwrite or another name")
    return target


def _new_folder(request: RunRequest, options: Options, settings: Settings) -> RunFolder:
    if options.run_dir is not None:
        return RunFolder.create(Path(options.run_dir).absolute())
    if request.output is None or options.dry_run:
        return RunFolder.create_temporary(settings.runs_dir)
    beside = request.output.with_name(f"{request.output.stem}.run")
    return RunFolder.create_free(beside)


def input_again(request: RunRequest, folder: RunFolder, settings: Settings) -> Picture:
    """The input of an earlier session.

    Raises:
        InputError: the file is not what it was.
    """
    if request.input is None:
        return folder.read_input()
    picture = picture_from(request.input, settings)
    if picture.sha256 != request.input_id:
        if picture.sha256 == (folder.read_json(DELIVERED) or {}).get("sha256"):
            raise InputError(f"{request.input} was replaced by this run's result; it cannot go on")
        raise InputError(f"{request.input} changed since the run began; start a new run")
    return picture


class _Session:
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

    def run(
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
                    broken = self._see_through(graph, entry, config, context)
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

    def _see_through(
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
