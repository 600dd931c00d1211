"""The runner: contract, tiles, seams, memory ladder, cancel, seeds."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from conservator.restorers import runner as runner_module
from conservator.restorers.base import Guidance
from conservator.restorers.card import Configuration, RestorerCard
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.errors import (
    BackendMissingError,
    CancelledError,
    InputError,
    PromptError,
    RestorerError,
    UnknownNameError,
    UsageError,
)
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.restorers.runner import Runner, blend
from conservator.restorers.tiling import spans

PROMPT = RestorationPrompt(degradations={Kind.NOISE: 20})


def card(**changes: Any) -> RestorerCard:
    values: dict[str, Any] = {
        "name": "probe",
        "title": "a probe",
        "treats": (Kind.NOISE,),
        "tile": 64,
        "overlap": 32,
        "configurations": {"compact": Configuration()},
    }
    return RestorerCard(**(values | changes))


class Probe:
    """A restorer that does nothing and remembers how it was called."""

    def __init__(self, **changes: Any) -> None:
        self.card = card(**changes)
        self.prepared: list[tuple[int, ...]] = []
        self.tiles: list[tuple[int, ...]] = []
        self.moves: list[tuple[str, torch.dtype]] = []

    def render(self, prompt: RestorationPrompt) -> str:
        return f"noise {prompt.degradations.get(Kind.NOISE)}"

    def prepare(self, image: Tensor, prompt: RestorationPrompt, *, seed: int) -> Guidance:
        self.prepared.append(tuple(image.shape))
        return None

    def restore_tile(self, tile: Tensor, guidance: Guidance) -> Tensor:
        self.tiles.append(tuple(tile.shape))
        return self.work(tile, guidance)

    def work(self, tile: Tensor, guidance: Guidance) -> Tensor:
        return tile

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        self.moves.append((device.type, dtype))


class ConvNet(Probe):
    """Three convolutions with a receptive radius of 4, and an upsampling by pixel shuffle."""

    def __init__(self, scale: int = 1, **changes: Any) -> None:
        super().__init__(scale=scale, **changes)
        torch.manual_seed(3)
        self.net = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(8, 8, 5, padding=2),
            nn.GELU(),
            nn.Conv2d(8, 3 * scale * scale, 3, padding=1),
            nn.PixelShuffle(scale),
            nn.Sigmoid(),
        ).eval()

    def work(self, tile: Tensor, guidance: Guidance) -> Tensor:
        result: Tensor = self.net(tile)
        return result


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


# ── tiles ───────────────────────────────────────────────────────────────────


@given(
    size=st.integers(1, 900),
    tile=st.integers(8, 300),
    overlap=st.integers(0, 64),
    multiple=st.sampled_from([1, 2, 8, 16]),
    scale=st.sampled_from([1, 2, 4]),
)
@settings(max_examples=200, deadline=None)
def test_weights_sum_to_exactly_one(
    size: int, tile: int, overlap: int, multiple: int, scale: int
) -> None:
    cut = spans(size, tile=tile, overlap=overlap, multiple=multiple, scale=scale)
    end = cut[-1].start + cut[-1].length
    assert cut[0].start == 0
    assert size <= end < size + multiple
    total = np.zeros(end * scale, np.float32)
    users = np.zeros(end * scale, int)
    for span in cut:
        assert span.start % multiple == 0
        assert span.length % multiple == 0
        assert span.length <= max(tile, multiple)
        assert span.weights.shape == (span.length * scale,)
        at = slice(span.start * scale, (span.start + span.length) * scale)
        total[at] += span.weights
        users[at] += span.weights > 0
    assert (total == 1).all()
    assert users.max() <= 2
    for before, after in pairwise(cut):
        assert before.start + before.length - after.start >= min(overlap, tile // 2) - 2 * multiple


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("multiple", [1, 8])
def test_tiled_equals_untiled_for_a_convolution(scale: int, multiple: int) -> None:
    image = picture(181, 203)
    whole = Runner(ConvNet(scale, multiple=multiple, tile=256)).restore(image, PROMPT)
    tiled = Runner(ConvNet(scale, multiple=multiple, tile=64)).restore(image, PROMPT)
    assert whole.details["tiles"] == 1
    assert tiled.details["tiles"] > 9
    assert tiled.image.shape == (1, 3, 181 * scale, 203 * scale)
    torch.testing.assert_close(tiled.image, whole.image, atol=2e-6, rtol=0)


def test_too_little_overlap_would_show() -> None:
    """The comparison above can fail: without context at the seams the results differ."""
    image = picture(181, 203)
    whole = Runner(ConvNet(tile=256)).restore(image, PROMPT)
    tiled = Runner(ConvNet(tile=64, overlap=4)).restore(image, PROMPT)
    assert (tiled.image - whole.image).abs().max() > 1e-4


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (3, 517), (64, 64), (65, 64), (129, 40)])
def test_any_size_comes_back_in_its_size(size: tuple[int, int]) -> None:
    probe = Probe(multiple=16, min_side=32)
    image = picture(*size)
    restored = Runner(probe).restore(image, PROMPT)
    torch.testing.assert_close(restored.image, image, atol=1e-6, rtol=0)
    assert all(side % 16 == 0 and side >= 32 for shape in probe.tiles for side in shape[2:])


def test_padding_reflects() -> None:
    class Last(Probe):
        def work(self, tile: Tensor, guidance: Guidance) -> Tensor:
            self.seen = tile.clone()
            return tile

    probe = Last(multiple=8)
    image = picture(10, 8)
    Runner(probe).restore(image, PROMPT)
    torch.testing.assert_close(probe.seen[:, :, 10:], image[:, :, 3:9].flip(2))


def test_one_tile_is_bit_identical_and_the_input_is_left_alone() -> None:
    interleaved = torch.rand(40, 50, 3).permute(2, 0, 1)[None]
    before = interleaved.clone()
    restored = Runner(Probe()).restore(interleaved, PROMPT)
    assert torch.equal(restored.image, before)
    restored.image.zero_()
    assert torch.equal(interleaved, before)


def test_result_is_clamped() -> None:
    class Stretch(Probe):
        def work(self, tile: Tensor, guidance: Guidance) -> Tensor:
            return tile * 3 - 1

    restored = Runner(Stretch()).restore(picture(100, 100), PROMPT)
    assert restored.image.min() == 0
    assert restored.image.max() == 1


# ── guidance ────────────────────────────────────────────────────────────────


def test_guidance_is_computed_once_on_the_whole_image() -> None:
    class Mean(Probe):
        def prepare(self, image: Tensor, prompt: RestorationPrompt, *, seed: int) -> Guidance:
            super().prepare(image, prompt, seed=seed)
            return float(image.mean())

        def work(self, tile: Tensor, guidance: Guidance) -> Tensor:
            return torch.full_like(tile, guidance)

    probe = Mean()
    image = picture(150, 170)
    restored = Runner(probe).restore(image, PROMPT)
    assert probe.prepared == [(1, 3, 150, 170)]
    assert len(probe.tiles) > 4
    torch.testing.assert_close(restored.image, torch.full_like(image, float(image.mean())))


def test_spatial_guidance_is_cut_like_the_image() -> None:
    class Crop:
        def __init__(self, image: Tensor) -> None:
            self.image = image
            self.facts = {"mean": 0.5}

        def crop(self, top: int, left: int, height: int, width: int) -> Tensor:
            return self.image[:, :, top : top + height, left : left + width]

    class Copy(Probe):
        def prepare(self, image: Tensor, prompt: RestorationPrompt, *, seed: int) -> Guidance:
            return Crop(image)

        def work(self, tile: Tensor, guidance: Tensor) -> Tensor:
            height, width = guidance.shape[-2:]
            assert torch.equal(guidance, tile[:, :, :height, :width])
            return F.pad(guidance, (0, tile.shape[-1] - width, 0, tile.shape[-2] - height))

    image = picture(150, 171)
    restored = Runner(Copy(multiple=8)).restore(image, PROMPT)
    torch.testing.assert_close(restored.image, image, atol=1e-6, rtol=0)
    assert restored.details["mean"] == 0.5


def test_details_and_what_was_asked() -> None:
    probe = Probe()
    probe.weights_sha256 = "cafe"  # type: ignore[attr-defined]
    restored = Runner(probe, device="cpu").restore(picture(100, 60), PROMPT, seed=4)
    assert restored.restorer == "probe"
    assert restored.prompt is PROMPT
    assert restored.rendered_prompt == "noise 20.0"
    assert restored.seed == 4
    assert restored.seconds > 0
    assert restored.details == {
        "device": "cpu",
        "dtype": "float32",
        "tiles": 3,
        "tile": [55, 60],
        "weights_sha256": "cafe",
        "fallbacks": [],
    }


# ── what goes wrong ─────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.zeros(3, 8, 8), r"not \(3, 8, 8\)"),
        (torch.zeros(2, 3, 8, 8), "takes"),
        (torch.zeros(1, 1, 8, 8), "takes"),
        (torch.zeros(1, 3, 0, 8), "takes"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "divide by the full scale"),
        (torch.full((1, 3, 8, 8), 1.5), "finite values in"),
        (torch.full((1, 3, 8, 8), float("nan")), "finite values in"),
    ],
)
def test_contract_of_the_input(image: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Runner(Probe()).restore(image, PROMPT)


def test_prompt_must_ask_for_something_it_treats() -> None:
    prompt = RestorationPrompt(degradations={Kind.HAZE: 1})
    with pytest.raises(PromptError, match="asked to treat haze; it treats noise"):
        Runner(Probe()).restore(picture(8, 8), prompt)
    with pytest.raises(PromptError, match="asked to treat nothing"):
        Runner(Probe()).restore(picture(8, 8), RestorationPrompt())
    Runner(Probe()).restore(picture(8, 8), RestorationPrompt(blind=True))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite(value: float) -> None:
    class Broken(Probe):
        def work(self, tile: Tensor, guidance: Guidance) -> Tensor:
            return torch.where(tile == tile.amax(), value, tile)

    with pytest.raises(RestorerError, match="not finite"):
        Runner(Broken()).restore(picture(100, 100), PROMPT)


def test_wrong_shape_and_foreign_errors() -> None:
    class Half(Probe):
        def work(self, tile: Tensor, guidance: Guidance) -> Tensor:
            return tile[:, :, ::2]

    class Raises(Probe):
        def work(self, tile: Tensor, guidance: Guidance) -> Tensor:
            raise KeyError("layer\nof many lines")

    with pytest.raises(RestorerError, match=r"shape \(1, 3, 20, 40\) instead of \(1, 3, 40, 40\)"):
        Runner(Half()).restore(picture(40, 40), PROMPT)
    with pytest.raises(RestorerError, match="probe failed: KeyError") as caught:
        Runner(Raises()).restore(picture(40, 40), PROMPT)
    assert "\n" not in str(caught.value)


def test_devices_and_dtypes() -> None:
    with pytest.raises(UnknownNameError, match="unknown device 'gpu'"):
        Runner(Probe(), device="gpu")
    with pytest.raises(BackendMissingError, match="'cuda:99' is not on this machine"):
        Runner(Probe(), device="cuda:99")
    with pytest.raises(UnknownNameError, match="unknown dtype 'float8'"):
        Runner(Probe(), dtype="float8")
    assert Runner(Probe(), device="cpu").dtype == torch.float32
    assert Runner(Probe(cpu_only=True), device="cuda:99").device.type == "cpu"
    probe = Probe()
    restored = Runner(probe, device="cpu", dtype="bfloat16").restore(picture(8, 8), PROMPT)
    assert probe.moves == [("cpu", torch.bfloat16)]
    assert restored.details["dtype"] == "bfloat16"
    assert restored.image.dtype == torch.float32


# ── memory ──────────────────────────────────────────────────────────────────


class Hungry(Probe):
    """Runs out of memory on tiles over a limit."""

    def __init__(self, limit: int, error: Exception, **changes: Any) -> None:
        super().__init__(**changes)
        self.limit, self.error = limit, error

    def work(self, tile: Tensor, guidance: Guidance) -> Tensor:
        if max(tile.shape[-2:]) > self.limit:
            raise self.error
        return tile


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_tiles_halve_until_they_fit(error: Exception) -> None:
    image = picture(300, 310)
    restored = Runner(Hungry(80, error, tile=512)).restore(image, PROMPT)
    torch.testing.assert_close(restored.image, image, atol=1e-6, rtol=0)
    assert restored.details["fallbacks"] == [
        "out of memory on cpu with tile 512; went on with cpu with tile 155",
        "out of memory on cpu with tile 155; went on with cpu with tile 77",
    ]
    assert max(restored.details["tile"]) <= 77


def test_memory_that_ends_on_the_smallest_tile() -> None:
    with pytest.raises(RestorerError, match="ran out of memory on cpu with tile 64, its last"):
        Runner(Hungry(8, MemoryError(), tile=128)).restore(picture(300, 300), PROMPT)


def test_the_cpu_is_the_last_resort_of_another_device() -> None:
    """The meta device stands in for an accelerator: it holds no data, so every tile on it fails."""

    class OnDevice(Probe):
        def work(self, tile: Tensor, guidance: Guidance) -> Tensor:
            if tile.device.type == "meta":
                raise torch.OutOfMemoryError("out of memory")
            return tile

    tool = OnDevice(tile=128)
    one = Runner(tool)
    one.device = torch.device("meta")
    image = picture(200, 200)
    restored = one.restore(image, PROMPT)
    torch.testing.assert_close(restored.image, image, atol=1e-6, rtol=0)
    assert restored.details["device"] == "cpu"
    assert [place for place, _ in tool.moves] == ["meta", "meta", "cpu"]
    assert len(restored.details["fallbacks"]) == 2


@pytest.mark.slow
def test_24_megapixels_stay_under_3_gb() -> None:
    """Peak memory needs a process of its own."""
    code = """
import resource, torch
from conservator.restorers import catalog
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.restorers.degradations.vocabulary import Kind
image = torch.rand(1, 3, 4000, 6000)
catalog.load("classical-dehaze").restore(image, RestorationPrompt(degradations={Kind.HAZE: 1.0}))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    source = str(Path(runner_module.__file__).parents[2])
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": source},
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) < 3_000_000


# ── cancel, progress, seeds ─────────────────────────────────────────────────


def test_progress_counts_every_tile() -> None:
    calls: list[tuple[int, int]] = []
    restored = Runner(Probe()).restore(
        picture(150, 150), PROMPT, on_progress=lambda done, total: calls.append((done, total))
    )
    total = restored.details["tiles"]
    assert total > 4
    assert calls == [(done, total) for done in range(total + 1)]


def test_cancel_stops_between_tiles() -> None:
    cancel = Event()
    probe = Probe()

    def after_two(done: int, total: int) -> None:
        if done == 2:
            cancel.set()

    with pytest.raises(CancelledError, match="after 2 of"):
        Runner(probe).restore(picture(150, 150), PROMPT, on_progress=after_two, cancel=cancel)
    assert len(probe.tiles) == 2
    with pytest.raises(CancelledError, match="after 0 of"):
        Runner(probe).restore(picture(150, 150), PROMPT, cancel=cancel)
    assert len(probe.prepared) == 1


def test_the_seed_decides_all_that_is_random() -> None:
    class Random(Probe):
        def prepare(self, image: Tensor, prompt: RestorationPrompt, *, seed: int) -> Guidance:
            return torch.rand(1)

        def work(self, tile: Tensor, guidance: Guidance) -> Tensor:
            drawn: Tensor = torch.rand_like(tile)
            return drawn.add(guidance).div(2)

    image = picture(150, 150)
    one = Runner(Random())
    torch.manual_seed(99)
    expected_after = torch.rand(3)
    torch.manual_seed(99)
    first = one.restore(image, PROMPT, seed=5).image
    assert torch.equal(torch.rand(3), expected_after)
    assert torch.equal(one.restore(image, PROMPT, seed=5).image, first)
    assert not torch.equal(one.restore(image, PROMPT, seed=6).image, first)


def test_blend() -> None:
    before, after = picture(8, 8), picture(8, 8, seed=1)
    assert torch.equal(blend(before, after, 0), before)
    assert torch.equal(blend(before, after, 1), after)
    torch.testing.assert_close(blend(before, after, 0.25), 0.75 * before + 0.25 * after)
    with pytest.raises(UsageError, match=r"strength 1\.5 is outside"):
        blend(before, after, 1.5)
    with pytest.raises(UsageError, match="cannot blend"):
        blend(before, picture(8, 9), 0.5)
