"""One run from request to result: the only implementation behind restore, arestore, stream, astream and resume."""

from __future__ import annotations

import time
from pathlib import Path
from threading import Event as Signal
from typing import TYPE_CHECKING

from conservator.agent.approval import Answer, Approver, checked_approve
from conservator.agent.events import OnEvent
from conservator.agent.experience import experienced
from conservator.agent.options import (
    Options,
    checked_device,
    folder_for,
    metric_directions,
    output_for,
    seated,
    vlm_spec,
)
from conservator.agent.pictures import ImageLike, input_again, picture_from
from conservator.agent.result import RestorationResult
from conservator.agent.run import Run
from conservator.agent.sessions import RunFolder, RunRequest
from conservator.agent.settings import load_settings
from conservator.agent.steering import Steering
from conservator.policies.budget import Clock
from conservator.policies.contract import Terms, contract_of, terms_of
from conservator.policies.preset import load_preset
from conservator.restorers.errors import UsageError
from conservator.tools.image_io import content_hash

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

__all__ = ["begin", "go_on"]


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
    output = output_for(image, options)
    request = RunRequest(
        input=Path(image).absolute() if isinstance(image, (str, Path)) else None,
        input_id=picture.sha256 or content_hash(picture.pixels),
        preset=preset,
        targets=terms.targets,
        protect=terms.protect,
        keep=terms.keep,
        budget=preset.budget.limited(options.max_seconds, options.max_tools),
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
    options = seated(options, request, settings)
    folder = folder_for(request, options, settings)
    run: Run | None = None
    with folder.locked():
        try:
            if not folder.temporary:
                folder.write_request(request)
            if request.input is None:
                folder.write_input(picture)
            run = Run(request, picture, folder, settings, options, contract, directions)
            before = options.clock() - clock_from
            return run.see_through(on_event, cancel, seconds_before=before, resumed=False)
        except BaseException as error:
            if run is None or not run.can_go_on(error):
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
        budget = request.budget.limited(max_seconds, max_tools)
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
        options = seated(given_options, request, settings)
        run = Run(request, picture, folder, settings, options, contract, directions)
        return run.see_through(on_event, cancel, seconds_before=0.0, resumed=True)
