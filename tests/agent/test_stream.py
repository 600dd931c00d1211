"""Events as they happen, in threads and in event loops; the same run behind all faces."""

import asyncio
import threading
from pathlib import Path

import numpy as np
import pytest

from conservator import RestorationResult, arestore, astream, stream
from conservator.agent.errors import UnknownNameError
from conservator.agent.events import RunFinished, RunStarted, ToolStarted
from conservator.policies.preset import Preset


def test_stream_ends_with_the_result(
    noisy: np.ndarray, quick: Preset, whole: RestorationResult
) -> None:
    seen = list(stream(noisy, policy=quick))
    assert isinstance(seen[0], RunStarted)
    assert isinstance(seen[-1], RunFinished)
    np.testing.assert_array_equal(seen[-1].result.array, whole.array)


def test_stream_raises_what_the_run_raises(noisy: np.ndarray) -> None:
    with pytest.raises(UnknownNameError, match="careless"):
        list(stream(noisy, policy="careless"))


def test_leaving_the_loop_stops_the_run(noisy_png: Path, quick: Preset) -> None:
    for event in stream(noisy_png, policy=quick):
        if isinstance(event, RunStarted):
            break
    assert not any(thread.name == "conservator-run" for thread in threading.enumerate())
    assert not noisy_png.with_name("noisy.restored.png").exists()


async def test_async_faces_give_the_same(
    noisy: np.ndarray, quick: Preset, whole: RestorationResult
) -> None:
    seen = [event async for event in astream(noisy, policy=quick)]
    assert isinstance(seen[-1], RunFinished)
    assert [type(e) for e in seen].count(RunFinished) == 1
    np.testing.assert_array_equal(seen[-1].result.array, whole.array)


async def test_the_event_loop_stays_free(
    noisy: np.ndarray, quick: Preset, whole: RestorationResult
) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.001)

    ticking = asyncio.ensure_future(tick())
    result = await arestore(noisy, policy=quick)
    ticking.cancel()
    assert ticks > 5
    np.testing.assert_array_equal(result.array, whole.array)


async def test_cancelling_the_task_stops_the_run(noisy_png: Path, quick: Preset) -> None:
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()
    seen: list[str] = []

    def heard(event: object) -> None:
        seen.append(type(event).__name__)
        loop.call_soon_threadsafe(begun.set)

    task = asyncio.ensure_future(arestore(noisy_png, policy=quick, on_event=heard))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # The run is at rest when the task is: it has told its end.
    assert seen[-1] == "RunFinished"


async def test_leaving_an_async_loop_stops_the_run(noisy_png: Path, quick: Preset) -> None:
    events = astream(noisy_png, policy=quick)
    async for event in events:
        if isinstance(event, RunStarted | ToolStarted):
            break
    await events.aclose()
    assert not noisy_png.with_name("noisy.restored.png").exists()


async def test_async_errors_arrive(noisy: np.ndarray) -> None:
    with pytest.raises(UnknownNameError):
        _ = [event async for event in astream(noisy, policy="careless")]
