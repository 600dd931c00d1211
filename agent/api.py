"""The functions a program calls: restore, arestore, stream, astream, inspect, resume."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from threading import Event as Signal
from typing import TYPE_CHECKING, TypedDict, Unpack

from conservator.agent.approval import Answer, Approver
from conservator.agent.context import CancelSignal
from conservator.agent.events import Event, OnEvent, RunFinished
from conservator.agent.execution import begin, go_on
from conservator.agent.options import Options
from conservator.agent.pictures import ImageLike, picture_from
from conservator.agent.result import RestorationResult
from conservator.agent.steering import Steering
from conservator.policies.preset import Preset
from conservator.policies.targets import Target
from conservator.restorers.degradations.vocabulary import ConditionReport

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

__all__ = ["RestoreOptions", "arestore", "astream", "inspect", "restore", "resume", "stream"]


class RestoreOptions(TypedDict, total=False):
    """The keyword arguments that `arestore`, `stream` and `astream` share with `restore`; described there."""

    policy: str | Path | Preset
    experience: str | Path | None
    targets: str | Sequence[Target] | None
    protect: str | Sequence[str] | None
    keep: str | Sequence[str] | None
    max_seconds: float | None
    max_tools: int | None
    seed: int
    output: str | Path | None
    overwrite: bool
    run_dir: str | Path | None
    dry_run: bool
    device: str | None
    vlm: BaseChatModel | str | None
    approve: str
    approver: Approver | None
    steering: Steering | None


def restore(
    image: ImageLike,
    *,
    policy: str | Path | Preset = "balanced",
    experience: str | Path | None = None,
    targets: str | Sequence[Target] | None = None,
    protect: str | Sequence[str] | None = None,
    keep: str | Sequence[str] | None = None,
    max_seconds: float | None = None,
    max_tools: int | None = None,
    seed: int = 0,
    output: str | Path | None = None,
    overwrite: bool = False,
    run_dir: str | Path | None = None,
    dry_run: bool = False,
    device: str | None = None,
    vlm: BaseChatModel | str | None = "auto",
    approve: str = "never",
    approver: Approver | None = None,
    steering: Steering | None = None,
    on_event: OnEvent | None = None,
    cancel: Signal | None = None,
) -> RestorationResult:
    """Inspect a photo, restore no more than needed, and document it.

    A photo in which nothing certain is found comes back as it is, byte for byte. A limit that is reached, a target
    that is not met, and a wish to stop are outcomes of the result, not exceptions.

    Args:
        image: a path, a Pillow image, or an (H, W), (H, W, 3) or (H, W, 4) array.
        policy: `archival`, `balanced`, `perceptual`, `fast`, a YAML file, or a `Preset`.
        experience: what was learned from earlier runs, to order the rivals of a step: `none`, `auto` (the shipped one and your own), or
            a file; by default CONSERVATOR_EXPERIENCE, else the policy's, which is `none` in those that ship.
        targets: e.g. `"noise<=low,jpeg<=low,fidelity>=0.9,ssim_to_input>=0.8,piqe-=5"`; by default the policy's. Those that compare
            with the input bind every candidate.
        protect: parts that come back as they came in: `face`, `text`, `x,y,w,h` in px of the upright photo or in %, or a place in words
            (`the sky`, `left half`); one or several.
        keep: what is wanted as it is: `the grain`, `the bokeh`, `the colours`, `it dark`, `the fog`, ...; one or several. It is not
            treated, and a candidate that takes it off is refused.
        max_seconds: wall-clock seconds; by default the policy's.
        max_tools: restorer calls; by default the policy's.
        seed: for restorers that draw.
        output: file to write; by default beside an input that is a file, none for others.
        overwrite: replace an existing output, also the input.
        run_dir: an empty or new folder for report, recipe, sheet and checkpoints; by default beside the output, and
            a temporary one when nothing is written.
        dry_run: inspect and plan only; writes nothing.
        device: `auto`, `cpu`, `cuda`; by default CONSERVATOR_DEVICE or `auto`.
        vlm: who looks, proposes tool calls (checked before they run) and gives an opinion: `embedded`, `local`, `served`,
            a server's URL, a chat model, or None for nobody; by default CONSERVATOR_VLM, else a running server, else
            nobody.
        approve: ask a person before the first call of the first plan (`plan`), before each call (`each`), or `never`.
        approver: answers the questions; without one the run ends at the question with the outcome `waiting`, and
            `resume(run_dir, answer=...)` goes on. Waiting for it takes nothing from `max_seconds`.
        steering: takes words, pauses and a stop while the run is on.
        on_event: called with each event as it happens.
        cancel: set it to stop at the next tile; Ctrl-C does the same.

    Raises:
        UsageError: the request is wrong: an unknown policy or target, an input that is no picture.
        OutputError: the result cannot be written.
        BackendMissingError: the vision-language model that was asked for is not there.
    """
    options = Options(
        policy=policy,
        experience=experience,
        targets=targets,
        protect=protect,
        keep=keep,
        max_seconds=max_seconds,
        max_tools=max_tools,
        seed=seed,
        output=output,
        overwrite=overwrite,
        run_dir=run_dir,
        dry_run=dry_run,
        device=device,
        vlm=vlm,
        approve=approve,
        approver=approver,
        steering=steering,
    )
    return begin(image, options, on_event=on_event, cancel=cancel)


def resume(
    run_dir: str | Path,
    *,
    max_seconds: float | None = None,
    max_tools: int | None = None,
    vlm: BaseChatModel | str | None = "auto",
    approve: str | None = None,
    approver: Approver | None = None,
    answer: Answer | str | None = None,
    steering: Steering | None = None,
    on_event: OnEvent | None = None,
    cancel: Signal | None = None,
) -> RestorationResult:
    """Go on with a run that was killed, cancelled or stopped, met its limit, or waits; a finished one gives its result again.

    Args:
        run_dir: the run folder.
        max_seconds: a new budget over the whole run, None for the old one.
        max_tools: the same for restorer calls.
        vlm: as in `restore`, but by default what the run began with; a model of the caller's must be given again.
        approve: as in `restore`, None for what the run began with.
        approver: as in `restore`.
        answer: to the question that the run waits with: an `Answer`, or words as "yes", "skip", "noise=20".
        steering: as in `restore`.
        on_event: as in `restore`.
        cancel: as in `restore`.

    Raises:
        MissingFileError: the folder holds no run.
        InputError: the input changed since.
    """
    return go_on(
        Path(run_dir).absolute(),
        on_event=on_event,
        cancel=cancel,
        max_seconds=max_seconds,
        max_tools=max_tools,
        vlm=vlm,
        approve=approve,
        approver=approver,
        answer=answer,
        steering=steering,
    )


def inspect(
    image: ImageLike, *, vlm: BaseChatModel | str | None = "auto", device: str | None = None
) -> ConditionReport:
    """Measure what is wrong with a photo; changes and writes nothing.

    Args:
        image: as in `restore`.
        vlm: as in `restore`; its findings are worked into the instruments' report.
        device: where a model in this process computes.

    Raises:
        InputError: the picture cannot be used.
        BackendMissingError: the vision-language model that was asked for is not there.
    """
    from conservator.tools.instruments import inspect_picture

    picture = picture_from(image)
    model = vlm
    if isinstance(vlm, str):
        from conservator.agent.settings import load_settings
        from conservator.agent.vlm.opening import open_vlm

        model = open_vlm(vlm, load_settings(), device=device)
    report = inspect_picture(picture)
    if model is None or isinstance(model, str):
        return report
    from conservator.agent.vlm.seat import Seat

    return Seat(model).describe(report, picture.pixels).report


async def arestore(
    image: ImageLike,
    *,
    on_event: OnEvent | None = None,
    cancel: Signal | None = None,
    **options: Unpack[RestoreOptions],
) -> RestorationResult:
    """`restore` without blocking the event loop; cancelling the task stops the run at the next tile.

    `on_event` is called in the run's thread.
    """
    asked = CancelSignal(cancel)

    def work() -> RestorationResult:
        return restore(
            image,
            on_event=on_event,
            cancel=asked,
            **options,
        )

    return await _in_thread(work, asked)


def stream(
    image: ImageLike,
    *,
    cancel: Signal | None = None,
    **options: Unpack[RestoreOptions],
) -> Iterator[Event]:
    """`restore` as an iterator of events as they happen; the last one is `RunFinished` with the result.

    The run has its own thread. Leaving the loop stops the run at the next tile.
    """
    asked = CancelSignal(cancel)

    def work(on_event: OnEvent) -> None:
        restore(
            image,
            on_event=on_event,
            cancel=asked,
            **options,
        )

    return _events(work, asked)


async def astream(
    image: ImageLike,
    *,
    cancel: Signal | None = None,
    **options: Unpack[RestoreOptions],
) -> AsyncIterator[Event]:
    """`stream` for `async for`."""
    asked = CancelSignal(cancel)
    arrived: asyncio.Queue[Event] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def heard(event: Event) -> None:
        loop.call_soon_threadsafe(arrived.put_nowait, event)

    run = asyncio.ensure_future(
        arestore(
            image,
            on_event=heard,
            cancel=asked,
            **options,
        )
    )
    try:
        while True:
            waiting = asyncio.ensure_future(arrived.get())
            await asyncio.wait((waiting, run), return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                waiting.cancel()
                if arrived.empty():
                    break
                continue
            event = waiting.result()
            yield event
            if isinstance(event, RunFinished):
                break
        await run
    finally:
        asked.set()
        if not run.done():
            await asyncio.wait((run,))


async def _in_thread(
    work: Callable[[], RestorationResult], asked: CancelSignal
) -> RestorationResult:
    run = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(run)
    except asyncio.CancelledError:
        # The thread cannot be killed; it stops at the next tile, and only then is the run's folder at rest.
        asked.set()
        await asyncio.wait((run,))
        raise


def _events(work: Callable[[OnEvent], None], asked: CancelSignal) -> Iterator[Event]:
    arrived: queue.Queue[Event | None] = queue.Queue()
    failure: list[BaseException] = []

    def thread() -> None:
        try:
            work(arrived.put)
        except BaseException as error:
            failure.append(error)
        finally:
            arrived.put(None)

    runner = threading.Thread(target=thread, name="conservator-run")
    runner.start()
    try:
        while True:
            try:
                event = arrived.get()
            except KeyboardInterrupt:
                if asked.asked():
                    raise
                asked.set()
                continue
            if event is None:
                break
            yield event
    finally:
        asked.set()
        runner.join()
    if failure:
        raise failure[0]
