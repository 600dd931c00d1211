"""Where a session's turns are worked out: looking, making, measuring, the automatic run."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conservator.agent.approval import checked_approve
from conservator.agent.context import CancelSignal, RunContext
from conservator.agent.dialogue.aims import aimed, terms_for
from conservator.agent.dialogue.making import Making, Product, keys_of
from conservator.agent.dialogue.reading import Reader
from conservator.agent.dialogue.state import Made
from conservator.agent.dialogue.treatment import (
    Treatment,
    Untouched,
    after_run,
    recipe_steps,
    strengths,
)
from conservator.agent.events import Event, ToolFinished, ToolProgressed, ToolStarted
from conservator.agent.execution import begin
from conservator.agent.measuring import measured
from conservator.agent.options import Options, metric_directions
from conservator.agent.recipe import RecipeStep
from conservator.agent.saving import artifact_samples, as_saved
from conservator.agent.sessions import RunFolder, RunRequest
from conservator.agent.settings import Settings
from conservator.policies.acceptance import Measurement, Verdict, judge
from conservator.policies.attempt import ToolCall
from conservator.policies.budget import Budget, BudgetClock, Spent
from conservator.policies.contract import protected_places
from conservator.policies.preferences import load_preferences
from conservator.policies.preset import Preset
from conservator.policies.targets import Target
from conservator.restorers import catalog
from conservator.restorers.degradations.vocabulary import ConditionReport, Kind
from conservator.restorers.errors import CancelledError, ConservatorError, UsageError
from conservator.tools.image_io import Picture
from conservator.tools.instruments import inspect_picture
from conservator.tools.look import Pixels
from conservator.tools.regions import Region, Shield, shield_of

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from conservator.agent.approval import Approver
    from conservator.agent.result import RestorationResult
    from conservator.agent.steering import Steering
    from conservator.agent.vlm.seat import Seat

__all__ = ["RUNS", "Workshop", "nobody"]

RUNS = "runs"
"""Folder of the automatic runs, below the session's."""

Emit = Callable[[Event], None]


def nobody(event: Event) -> None:
    """Hear an event and do nothing."""


@dataclass
class Workshop:
    """A session's tools and materials; it knows nothing of the tree.

    Attributes:
        request: the input, policy, seed and device.
        picture: the input, decoded.
        folder: keeps the pictures.
        model: the vision-language model, None without one.
        approve: when an automatic run asks.
        approver: whom.
    """

    request: RunRequest
    picture: Picture
    folder: RunFolder
    settings: Settings
    model: BaseChatModel | None = None
    approve: str = "never"
    approver: Approver | None = None
    _seat: Seat | None = None
    _context: RunContext | None = None
    _shield: Shield | None = None
    _ready: dict[tuple[str, str], bool] = field(default_factory=dict)

    @property
    def context(self) -> RunContext:
        """What measuring needs, as in a run without limits."""
        if self._context is None:
            self._context = RunContext(
                request=self.request,
                picture=self.picture,
                folder=self.folder,
                preset=self.request.preset,
                targets=(),
                preferences=load_preferences(self.settings.preferences),
                cards=catalog.cards(),
                directions=metric_directions(),
                clock=BudgetClock(Budget()),
                cancel=CancelSignal(),
                emit_event=nobody,
                device=self.request.device,
            )
        return self._context

    def aimed(
        self,
        *,
        policy: str | Path | Preset | None,
        experience: str | Path | None,
        targets: str | Sequence[Target] | None,
        protect: str | Sequence[str] | None,
        keep: str | Sequence[str] | None,
        budget: Budget | None,
    ) -> RunRequest:
        """The request with other aims; None for what stays.

        Raises:
            UsageError: one of them does not read, or two contradict each other.
        """
        self.request = aimed(
            self.request,
            self.picture,
            self.settings,
            policy=policy,
            experience=experience,
            targets=targets,
            protect=protect,
            keep=keep,
            budget=budget,
        )
        # They were made for the aims before.
        self._context = self._shield = None
        return self.request

    @property
    def protect(self) -> tuple[Region, ...]:
        """The parts that come back as they came in, whatever is done."""
        size = self.picture.width, self.picture.height
        return protected_places(terms_for(self.request).protect, width=size[0], height=size[1])

    def ask(self, approve: str, approver: Approver | None) -> None:
        """Let a person have a say before tools are called.

        Raises:
            UsageError: an approver without questions, or questions without one.
        """
        if (checked_approve(approve) == "never") != (approver is None):
            raise UsageError(
                "a session asks with approve='plan' or 'each' and an approver; give both or neither"
            )
        self.approve, self.approver = approve, approver

    def inspected(self) -> ConditionReport:
        """What is wrong with the input, by the instruments."""
        return inspect_picture(self.picture)

    def baseline(self) -> Measurement:
        """The input, measured as pictures of turns are."""
        return measured(self.context, self.picture.pixels)

    def measured(self, pixels: Pixels) -> Measurement:
        """A turn's picture as it would be saved, compared with the input."""
        saved = as_saved(self.picture, pixels, self.request.suffix)
        return measured(self.context, saved, against_input=True)

    def verdict(
        self, treatment: Treatment, baseline: Measurement, measurement: Measurement
    ) -> Verdict | None:
        """What the joint rule says; None where nothing is treated."""
        treated = strengths(treatment)
        if not treated:
            return None
        return judge(
            baseline,
            measurement,
            treated=treated,
            preset=self.request.preset,
            directions=self.context.directions,
        )

    def reader(self, report: ConditionReport, cancel: CancelSignal) -> Reader:
        """Who reads the user's words."""
        context = self.context
        if self.model is not None and self._seat is None:
            from conservator.agent.vlm.seat import Seat

            self._seat = Seat(self.model)
        allowance = None
        if self._seat is not None:
            from dataclasses import replace

            allowance = replace(context.allowance(Spent()), cancelled=cancel.asked)
        return Reader(
            original=self.picture.pixels,
            report=report,
            preset=self.request.preset,
            preferences=context.preferences,
            cards=context.cards,
            ready=self._loads,
            seed=self.request.seed,
            seat=self._seat,
            allowance=allowance,
        )

    def made(
        self,
        treatment: Treatment,
        made: Mapping[str, Made],
        *,
        turn: str,
        parent: str,
        cancel: CancelSignal,
        emit: Emit,
    ) -> Product:
        """Make a treatment's picture, telling the listener of each tool."""

        def started(number: int, step: RecipeStep) -> None:
            call = ToolCall(
                restorer=step.restorer,
                prompt=step.prompt,
                source=parent,
                blend=step.blend,
                seed=step.seed,
                configuration=step.configuration,
                decided_by="user",
            )
            emit(ToolStarted(at_s=self.seconds(), attempt=f"{turn}.{number}", call=call))

        def progressed(number: int, done: int, total: int) -> None:
            name = f"{turn}.{number}"
            emit(ToolProgressed(at_s=self.seconds(), attempt=name, done=done, total=total))

        def finished(number: int, seconds: float) -> None:
            name = f"{turn}.{number}"
            emit(ToolFinished(at_s=self.seconds(), attempt=name, seconds=seconds, error=""))

        protect = self.protect
        if protect and self._shield is None:
            self._shield = shield_of(protect, self.picture.pixels)
        making = Making(
            picture=self.picture,
            folder=self.folder,
            protect=protect,
            shield=self._shield,
            device=self.request.device,
            cancel=cancel,
            on_start=started,
            on_progress=progressed,
            on_finish=finished,
        )
        return making.of(treatment, made)

    def run(
        self,
        turn: str,
        artifact: str,
        leave: Collection[Kind],
        *,
        cancel: CancelSignal,
        emit: Emit,
        steering: Steering | None = None,
    ) -> RestorationResult:
        """The automatic run on a node's picture, in a folder of its own.

        Args:
            turn: names the folder.
            artifact: the picture; "" for the input itself, whose file tells the instruments more than its pixels.
            leave: kinds that the user has settled.
            cancel: the caller's wish to stop.
            emit: hears the run's events.
            steering: the caller's hand on the run.

        Raises:
            CancelledError: the caller asked to stop; nothing is left of the run.
        """
        request = self.request
        kept = dict.fromkeys((*request.preset.leave, *leave))
        preset = request.preset.model_copy(
            update={"leave": tuple(kept), **request.budget.model_dump()}
        )
        place = self.folder.path / RUNS / turn
        # What a killed turn left behind.
        shutil.rmtree(place, ignore_errors=True)
        place.parent.mkdir(exist_ok=True)
        image: Any = request.input
        if artifact or image is None:
            pixels = self.folder.load_artifact(artifact) if artifact else self.picture.pixels
            image = artifact_samples(self.picture, pixels)
        options = Options(
            policy=preset,
            experience=request.preset.experience,
            targets=request.targets or None,
            protect=request.protect,
            keep=request.keep,
            seed=request.seed,
            writes=False,
            suffix=request.suffix,
            run_dir=place,
            device=request.device,
            vlm=self.model,
            approve=self.approve,
            approver=self.approver,
            steering=steering,
        )
        result = begin(image, options, on_event=emit, cancel=cancel)
        if result.outcome == "cancelled":
            shutil.rmtree(place, ignore_errors=True)
            raise CancelledError("the turn was cancelled; the session is as it was before it")
        return result

    def after_run(
        self,
        result: RestorationResult,
        turn: str,
        source: Treatment,
        made: Mapping[str, Made],
    ) -> tuple[Treatment, dict[str, Made]]:
        """The treatment with the steps of a turn's run, whose pictures are taken over from its folder."""
        kept = dict(made)
        steps = after_run(result.attempts, result.best, source)
        protect = self.protect
        if protect and source != Untouched():
            # The run's pictures fade to what it began with around the parts, the session's to the untouched input.
            return (steps[-1] if steps else source), kept
        run = RunFolder(self.folder.path / RUNS / turn)
        for step, attempt in zip(steps, result.steps, strict=True):
            self.folder.adopt(run, attempt.artifact)
            kept[keys_of(recipe_steps(step), protect)[-1]] = Made(
                artifact=attempt.artifact,
                rendered_prompt=attempt.rendered_prompt,
                weights_sha256=attempt.details.get("weights_sha256"),
                configuration=attempt.details.get("configuration", ""),
                seconds=attempt.seconds,
            )
        return (steps[-1] if steps else source), kept

    def seconds(self) -> float:
        """Seconds since the session was opened."""
        return round(self.context.clock.elapsed(), 4)

    def _loads(self, name: str, configuration: str) -> bool:
        """Whether a restorer is ready: loading it is needed anyway."""
        key = (name, configuration)
        if key not in self._ready:
            try:
                catalog.load(name, configuration, device=self.request.device)
                self._ready[key] = True
            except ConservatorError:
                self._ready[key] = False
        return self._ready[key]
