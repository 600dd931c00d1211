"""The joint reading: a correction of the calibration that is learned, bounded, and tied to its estimator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data

from conservator.restorers.degradations import synthesis
from conservator.restorers.degradations.vocabulary import Finding, Kind, Level, severity_of
from conservator.restorers.errors import WeightsError
from conservator.tools.instruments import fit_stack, stacking
from conservator.tools.instruments.fusion import fused
from conservator.tools.instruments.learned import learned_estimate
from conservator.tools.instruments.readings import examine
from conservator.tools.instruments.sample import sample_of
from conservator.tools.instruments.stacking import (
    READ_JOINTLY,
    inputs_of,
    stack,
    stacked_findings,
)


@pytest.fixture
def fresh() -> Iterator[None]:
    stack.cache_clear()
    yield
    stack.cache_clear()


def photo() -> torch.Tensor:
    image = np.ascontiguousarray(data.coffee()[:320, 60:380] / 255).astype(np.float32)
    return torch.from_numpy(image).permute(2, 0, 1)[None]


def read(image: torch.Tensor) -> dict[Kind, Finding]:
    pixels = np.ascontiguousarray(synthesis.quantise8(image)[0].permute(1, 2, 0).numpy())
    estimate = learned_estimate(pixels)
    assert estimate is not None and estimate.seen is not None
    return stacked_findings(examine(sample_of(pixels)), estimate.seen)


def test_a_clean_photo_and_a_damaged_one() -> None:
    clean = read(photo())
    assert set(clean) == set(READ_JOINTLY)
    assert [kind for kind in clean if clean[kind].level > Level.ABSENT] == []
    kernel = synthesis.gaussian_blur(photo(), [2.5])
    hazy = synthesis.haze(
        kernel,
        [1.2],
        torch.tensor([[0.9, 0.9, 0.9]]),
        synthesis.pseudo_depth(1, 320, 320, torch.Generator().manual_seed(3)),
    )
    found = read(hazy)
    assert found[Kind.HAZE].level > Level.ABSENT
    assert abs(found[Kind.HAZE].severity - severity_of(Kind.HAZE, 1.2)) < 0.3
    assert found[Kind.DEFOCUS_BLUR].level > Level.ABSENT
    assert found[Kind.NOISE].level is Level.ABSENT


def test_levels_are_distributions_and_estimates_are_drawn_apart() -> None:
    shipped = stack()
    pixels = photo()[0].permute(1, 2, 0).contiguous().numpy()
    estimate = learned_estimate(pixels)
    assert estimate is not None and estimate.seen is not None
    inputs = inputs_of(examine(sample_of(pixels)), estimate.seen)
    for levels in shipped.levels(inputs).values():
        assert levels.shape == (5,) and np.isclose(levels.sum(), 1)
    for kind in Kind:
        read = [shipped.undrawn(kind, level) for level in np.linspace(0, 4, 33)]
        assert read[0] == 0 and read[-1] <= 4
        assert all(np.diff(read) >= 0)


def test_what_it_learns_it_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh: None
) -> None:
    """A stack that may look at one number which tells haze, learns to look at it."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(1200, 60)).astype(np.float32)
    inputs[:, :55] = np.log(0.2)
    levels = rng.integers(0, 5, 1200)
    row = list(Kind).index(Kind.HAZE)
    labels = np.zeros((1200, len(Kind), 5), np.float32)
    labels[..., 0] = 1
    labels[:, row] = np.eye(5, dtype=np.float32)[levels]
    inputs[:, 57] = levels + rng.normal(size=1200) * 0.1
    arrays = fit_stack.fit(inputs, labels, np.arange(1200), epochs=60)
    arrays["estimator_sha256"] = np.load(stacking.WEIGHTS)["estimator_sha256"]
    path = tmp_path / "stack.npz"
    np.savez_compressed(path, allow_pickle=False, **arrays)
    monkeypatch.setattr(stacking, "WEIGHTS", path)
    told = [stack().levels(x)[Kind.HAZE].argmax() for x in inputs[:200]]
    assert np.mean(told == levels[:200]) > 0.8
    assert all(stack().levels(x)[Kind.RAIN].argmax() == 0 for x in inputs[:20])


def test_a_file_that_is_damaged_or_of_another_estimator_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh: None
) -> None:
    path = tmp_path / "stack.npz"
    path.write_bytes(b"nothing")
    monkeypatch.setattr(stacking, "WEIGHTS", path)
    with pytest.raises(WeightsError, match="reinstall"):
        stack()
    with np.load(Path(stacking.__file__).with_name("stack.npz")) as file:
        arrays = {name: file[name] for name in file.files}
    arrays["estimator_sha256"] = np.array("0" * 64)
    np.savez(path, allow_pickle=False, **arrays)
    with pytest.raises(WeightsError, match="another estimator"):
        stack()


def finding(kind: Kind, value: float, confidence: float) -> Finding:
    return Finding(kind=kind, value=value, confidence=confidence, source="instrument")


def test_the_joint_reading_counts_where_nothing_was_counted() -> None:
    own, other = finding(Kind.RAIN, 0, 0.6), finding(Kind.RAIN, 20, 0.5)
    joint = finding(Kind.RAIN, 60, 0.7)
    assert fused({Kind.RAIN: own}, {Kind.RAIN: other}, {Kind.RAIN: joint}) == (joint,)
    white = finding(Kind.NOISE, 25, 0.97)
    said = {Kind.NOISE: finding(Kind.NOISE, 12, 0.99)}
    assert fused({Kind.NOISE: white}, said, said) == (white,)


def test_lost_resolution_takes_its_number_from_the_joint_reading_and_its_presence_from_both() -> (
    None
):
    kind = Kind.LOW_RESOLUTION
    soft, sharp = {kind: finding(kind, 1.6, 0.8)}, {kind: finding(kind, 1.0, 0.98)}
    joint = {kind: finding(kind, 2.4, 0.9)}
    assert fused(soft, sharp, joint) == (sharp[kind],)
    (both,) = fused(soft, {kind: finding(kind, 3.0, 0.95)}, joint)
    assert (both.value, both.confidence) == (2.4, 0.95)
    (unsure,) = fused(soft, {kind: finding(kind, 3.0, 0.7)}, joint)
    assert unsure.level is Level.ABSENT
