"""The inspected pictures of stage 2, and a training run that lives on them."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.errors import OutputError, UsageError
from conservator.restorers.llmra.config import CONFIGS
from conservator.restorers.llmra.pool import InspectedPool
from conservator.restorers.llmra.train import train
from conservator.restorers.training.data import CropBank
from conservator.restorers.weights import load_weights
from tiny_llmra import TINY

CPU = torch.device("cpu")


class Inspection:
    """Says of each picture how bright it is, so that what was said can be told apart."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self.seen: list[torch.Tensor] = []

    def __call__(self, batch: torch.Tensor) -> list[dict[Kind, float]]:
        self.shapes.append(tuple(batch.shape))
        self.seen.extend(batch)
        return [{Kind.NOISE: round(float(picture.mean()), 4)} for picture in batch]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "crops"
    place.mkdir()
    rng = np.random.default_rng(0)
    for i in range(4):
        low = rng.integers(0, 255, (6, 6, 3), dtype=np.uint8)
        crop = Image.fromarray(low).resize((80, 80), Image.Resampling.BICUBIC)
        crop.save(place / f"{i}.png")
    return place


def pool_of(pictures: torch.Tensor, sides: tuple[int, ...]) -> InspectedPool:
    """Pictures whose degraded version is their negative; what was said of each is its number."""
    said = tuple({Kind.NOISE: float(row)} for row in range(len(sides)))
    return InspectedPool(255 - pictures, pictures, sides, ({Kind.JPEG: 20.0},) * len(sides), said)


def test_whole_pictures_are_inspected_as_they_are_kept(folder: Path) -> None:
    inspection, lines = Inspection(), []
    bank = CropBank(folder, side=80)
    pool = InspectedPool.make(bank, 30, inspection, seed=1, say=lines.append)
    # Twenty whole ones, then ten shrunk ones on JPEG's grid.
    assert inspection.shapes == [(20, 3, 80, 80), (10, 3, 64, 64)]
    assert pool.sides == (80,) * 20 + (64,) * 10
    for row, seen in enumerate(inspection.seen):
        side = pool.sides[row]
        assert torch.equal((seen * 255).round().byte(), pool.degraded[row, :, :side, :side])
        assert not pool.degraded[row, :, side:].any()
        assert pool.said[row] == {Kind.NOISE: round(float(seen.mean()), 4)}
    assert lines[-1] == "30 of 30 pictures inspected"
    untouched = [
        torch.equal(degraded, clean)
        for degraded, clean in zip(pool.degraded, pool.clean, strict=True)
    ]
    assert untouched == [not kinds for kinds in pool.present]
    assert 0 < sum(untouched) < 30


def test_same_seed_makes_the_same_pool(folder: Path) -> None:
    bank = CropBank(folder, side=80)
    first, second, other = (
        InspectedPool.make(bank, 6, Inspection(), seed=seed) for seed in (1, 1, 2)
    )
    assert torch.equal(first.degraded, second.degraded)
    assert first.present == second.present
    assert not torch.equal(first.degraded, other.degraded)


def test_both_versions_are_cut_and_turned_alike() -> None:
    pictures = torch.randint(0, 256, (3, 3, 48, 48), dtype=torch.uint8)
    pairs, _ = pool_of(pictures, (48, 48, 48)).patches(12, 24, random.Random(0), CPU)
    assert pairs.degraded.shape == (12, 3, 24, 24)
    assert torch.allclose(pairs.degraded + pairs.clean, torch.ones(()))
    assert torch.equal(pairs.target, pairs.clean)
    assert pairs.present == pairs.asked == [{Kind.JPEG: 20.0}] * 12


def test_patches_come_with_what_was_said_of_their_picture() -> None:
    pictures = torch.arange(4, dtype=torch.uint8).view(4, 1, 1, 1).expand(4, 3, 32, 32)
    pairs, said = pool_of(pictures, (32,) * 4).patches(20, 16, random.Random(0), CPU)
    numbers = (pairs.clean.mean(dim=(1, 2, 3)) * 255).round().tolist()
    assert [kinds[Kind.NOISE] for kinds in said] == numbers
    assert len(set(numbers)) == 4


def test_patches_keep_the_grid_of_jpeg() -> None:
    # A board of 8 px squares: a patch that begins elsewhere would cut them.
    rows = torch.arange(64) // 8
    board = ((rows[:, None] + rows[None]) % 2 * 255).byte().expand(1, 3, 64, 64)
    pairs, _ = pool_of(board, (64,)).patches(16, 32, random.Random(0), CPU)
    blocks = pairs.clean.view(16, 3, 4, 8, 4, 8)
    assert torch.equal(blocks.amax(dim=(3, 5)), blocks.amin(dim=(3, 5)))


def test_patches_come_from_pictures_that_are_large_enough() -> None:
    pictures = torch.zeros(2, 3, 40, 40, dtype=torch.uint8)
    pictures[1, :, 32:], pictures[1, :, :, 32:] = 255, 255
    pool = pool_of(pictures, (40, 32))
    pairs, said = pool.patches(8, 32, random.Random(1), CPU)
    assert {kinds[Kind.NOISE] for kinds in said} == {0.0, 1.0}
    assert not pairs.clean.any()
    _, said = pool.patches(8, 40, random.Random(1), CPU)
    assert {kinds[Kind.NOISE] for kinds in said} == {0.0}
    with pytest.raises(UsageError, match="patches of 48 px do not fit into pictures of 40 px"):
        pool.patches(8, 48, random.Random(1), CPU)


def test_a_kept_pool_reads_back(folder: Path, tmp_path: Path) -> None:
    pool = InspectedPool.make(CropBank(folder, side=80), 6, Inspection(), seed=3)
    pool.write(tmp_path / "pool.safetensors")
    back = InspectedPool.read(tmp_path / "pool.safetensors")
    assert torch.equal(back.degraded, pool.degraded)
    assert torch.equal(back.clean, pool.clean)
    assert (back.sides, back.present, back.said) == (pool.sides, pool.present, pool.said)
    assert not list(tmp_path.glob("*.part"))


def test_a_damaged_pool_is_named_with_the_remedy(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "pool.safetensors"
    InspectedPool.make(CropBank(folder, side=80), 3, Inspection()).write(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UsageError, match="delete the file"):
        InspectedPool.read(path)
    with pytest.raises(OutputError, match="cannot keep"):
        pool_of(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), (8,)).write(path / "below")


def test_stage_2_inspects_once_and_a_resumed_run_not_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CONFIGS, "tiny", TINY)
    out, inspection = tmp_path / "out", Inspection()

    def stage_2(lines: list[str], *, resume: bool) -> Path:
        return train(
            "tiny",
            folder,
            out,
            minutes=0.0005,
            stage=2,
            device="cpu",
            resume=resume,
            inspector=inspection,
            pool_size=6,
            batch=4,
            sizes=((0.0, 32),),
            say=lines.append,
        )

    said: list[str] = []
    written = stage_2(said, resume=False)
    assert [shape[0] for shape in inspection.shapes] == [4, 2]
    # CEM learns: its last layers begin at zero.
    weights = load_weights(written)
    assert any(bool(value.any()) for name, value in weights.items() if "attention.project" in name)
    again: list[str] = []
    stage_2(again, resume=True)
    assert len(inspection.shapes) == 2
    assert any("6 inspected pictures from" in line for line in again)


def test_stage_2_without_an_inspector_simulates_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CONFIGS, "tiny", TINY)
    written = train(
        "tiny",
        folder,
        tmp_path / "out",
        minutes=0.0005,
        stage=2,
        device="cpu",
        batch=4,
        sizes=((0.0, 32),),
    )
    assert written.is_file()
    assert not (tmp_path / "out" / "pool.safetensors").exists()
