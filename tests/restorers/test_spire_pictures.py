"""What SPIRE trains on: JPEG on the device, the two pipelines, captions, the ring."""

import csv
import random
import re
from collections import Counter
from pathlib import Path

import pytest
import skimage.data
import torch

from conservator.restorers.degradations import synthesis
from conservator.restorers.degradations.dct_jpeg import dct_jpeg
from conservator.restorers.degradations.pipelines import spire
from conservator.restorers.degradations.pipelines.dice import Dice
from conservator.restorers.degradations.pipelines.step import Step
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.prompts.spire import BLIND, parse
from conservator.restorers.spire import pictures
from conservator.restorers.spire.pictures import Bank, Degrader, Ring, captioned, on_device

CPU = torch.device("cpu")


def photo(side: int = 96) -> torch.Tensor:
    crop = skimage.data.astronaut()[:side, 150 : 150 + side].copy()
    return torch.from_numpy(crop).permute(2, 0, 1)[None].float() / 255


@pytest.mark.parametrize("quality", [10, 30, 60, 92])
def test_jpeg_on_the_device_loses_what_libjpeg_loses(quality: int) -> None:
    x = photo(93)  # no multiple of a block
    ours, theirs = dct_jpeg(x, [quality]), synthesis.jpeg(x, [quality])
    assert 255 * float((ours - theirs).abs().mean()) < 0.8
    lost = float((theirs - x).square().mean())
    assert float((ours - x).square().mean()) == pytest.approx(lost, rel=0.08)
    assert torch.equal(ours, synthesis.quantise8(ours))


def test_jpeg_takes_a_quality_each() -> None:
    both = dct_jpeg(photo(64).expand(2, -1, -1, -1), [10, 90])
    assert torch.equal(both[:1], dct_jpeg(photo(64), [10]))
    assert torch.equal(both[1:], dct_jpeg(photo(64), [90]))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(both[:1], dct_jpeg(photo(64), [10]))


@pytest.mark.parametrize(
    ("operator", "parameters"),
    [
        ("gaussian_noise", {"sigma_255": 25.0}),
        ("grey_gaussian_noise", {"sigma_255": 25.0}),
        ("poisson_noise", {"scale": 2.0}),
        ("grey_poisson_noise", {"scale": 2.0}),
        ("gaussian_blur", {"sigma_px": 2.0}),
        ("downsample", {"factor": 3.0, "mode": "bicubic"}),
        ("jpeg", {"quality": 40}),
    ],
)
def test_steps_on_the_device_do_what_the_recipe_does(
    operator: str, parameters: dict[str, float | str]
) -> None:
    step = Step(operator=operator, parameters=parameters, seed=5)
    here, there = on_device(photo(), step), pictures.run(photo(), step)
    assert here.shape == there.shape
    assert float((here - there).abs().mean()) < 0.01
    assert torch.equal(here, on_device(photo(), step))


# ── the two pipelines ───────────────────────────────────────────────────────
def test_prompts_are_half_blind_and_half_of_the_stages_are_skipped() -> None:
    maker = Degrader(seed=1)
    clean = photo(32).expand(160, -1, -1, -1)
    made = maker.degrade(clean)
    assert made.degraded.shape == clean.shape
    assert torch.equal(made.target, clean)
    blind = made.prompts.count(BLIND)
    assert 60 < blind < 100
    told = [text for text in made.prompts if text != BLIND]
    verbs = Counter(verb for text in told for verb in re.findall(r"De\w+|Upsample", text))
    assert set(verbs) == {"Deblur", "Upsample", "Denoise", "Dejpeg"}
    assert all(0.3 < count / len(told) < 0.7 for count in verbs.values())
    numbered = sum(bool(re.search(r"\d", piece)) for text in told for piece in text.split(";"))
    assert 0.35 < numbered / sum(verbs.values()) < 0.65
    assert all(not parse(text).unmapped for text in told)


def test_numbers_stay_in_table_2_unless_asked_for_more() -> None:
    def sigmas(maker: Degrader) -> list[float]:
        texts = maker.degrade(photo(16).expand(60, -1, -1, -1)).prompts
        found = [re.search(r"Denoise with sigma ([\d.]+)", text) for text in texts]
        return [float(match[1]) for match in found if match]

    assert max(sigmas(Degrader(seed=2))) <= 0.12
    assert max(sigmas(Degrader(seed=2, wide=1.0))) > 0.12
    assert not sigmas(Degrader(seed=2, numbers=False))


def test_a_partial_prompt_leaves_the_rest_in_the_target() -> None:
    maker = Degrader(seed=3, partial=1.0)
    clean = photo(48)
    differing = 0
    for _ in range(40):
        made = maker.degrade(clean)
        if made.prompts == [BLIND]:
            assert torch.equal(made.target, clean)
        elif not made.prompts[0]:
            # Nothing is asked for, so what was done stays.
            assert float((made.degraded - made.target).abs().max()) <= 0.51 / 255
        elif not torch.equal(made.target, clean):
            differing += 1
            harm = (made.degraded - clean).square().mean()
            assert (made.target - clean).square().mean() <= 1.3 * harm + 1e-5
    assert differing > 5


def test_weaker_numbers_add_up_to_what_was_done() -> None:
    noise = Step(
        operator="gaussian_noise", parameters={"sigma_255": 20.0}, seed=3, kind=Kind.NOISE, value=20
    )
    asked, kept = pictures._weakened(noise, 0.4) or (noise, noise)
    assert asked.value == pytest.approx(8)
    assert kept.value == pytest.approx(12)
    blur = Step(
        operator="gaussian_blur", parameters={"sigma_px": 2.0}, kind=Kind.DEFOCUS_BLUR, value=4.0
    )
    asked, kept = pictures._weakened(blur, 0.6) or (blur, blur)
    twice = on_device(on_device(photo(), asked), kept)
    assert float((twice - on_device(photo(), blur)).abs().mean()) < 0.003


def test_noise_of_the_small_grid_never_stays_without_it() -> None:
    for seed in range(300):
        steps = spire.draw("", Dice(seed), 64, 64).steps
        asked, kept = pictures._parted(steps, Dice("part", seed), weaken=True)
        kinds = {step.kind for step in kept}
        done = {step.kind for step in steps} - {None}
        if Kind.LOW_RESOLUTION in done - kinds:
            assert not kinds & {Kind.NOISE, Kind.JPEG}
        if done:
            assert done == {s.kind for s in (*asked, *kept)} - {None} - ({Kind.JPEG} - done)


def test_compression_is_asked_about_where_there_was_none_and_never_made() -> None:
    named = 0
    for seed in range(200):
        steps = spire.draw("", Dice(seed), 64, 64).steps
        asked, kept = pictures._parted(steps, Dice("part", seed), weaken=True)
        if any(step.kind is Kind.JPEG for step in steps):
            continue
        named += any(step.kind is Kind.JPEG for step in asked)
        assert not any(step.kind is Kind.JPEG for step in kept)
    assert 20 < named < 80


def test_where_a_part_is_asked_for_its_number_says_so() -> None:
    maker = Degrader(seed=5, partial=1.0)
    for seed in range(300):
        steps = spire.draw("", Dice(seed), 64, 64).steps
        asked, kept = pictures._parted(steps, Dice("part", seed), weaken=True)
        partly = {s.kind for s in asked} & {s.kind for s in kept} - {None}
        pieces = maker._prompt(asked, kept, Dice("prompt", seed)).split(";")
        for verb, kind in (("Denoise", Kind.NOISE), ("Deblur", Kind.DEFOCUS_BLUR)):
            told = [piece for piece in pieces if verb in piece]
            if kind in partly:
                assert all("sigma" in piece for piece in told)


def test_without_numbers_whole_kinds_are_left_and_never_parts() -> None:
    for seed in range(100):
        steps = spire.draw("", Dice(seed), 64, 64).steps
        asked, kept = pictures._parted(steps, Dice("part", seed), weaken=False)
        assert not {s.kind for s in asked} & {s.kind for s in kept} - {None}


# ── crops and captions ──────────────────────────────────────────────────────
@pytest.fixture
def folder(photos: Path, tmp_path: Path) -> Path:
    names = [f"{i:02}-cat.png" for i in range(40)]
    for name in names:
        (tmp_path / name).symlink_to(photos / "chelsea.png")
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "source", "caption"))
        writer.writerows((name, "here", "cat" if i < 36 else "") for i, name in enumerate(names))
    return tmp_path


def test_captions_come_from_the_manifest(folder: Path, tmp_path: Path) -> None:
    bank = Bank(folder, CPU, side=64)
    assert bank.captions[0] == "cat"
    assert bank.captions[39] == ""
    assert 0 < len(bank.held_out) < 8
    assert not set(bank.held_out) & set(bank.rows)
    _, rows = bank.take(64, 32, random.Random(0))
    assert not set(rows) & set(bank.held_out)
    out = bank.export_held_out(tmp_path / "out")
    named = captioned(out, tuple(sorted(p.name for p in out.glob("*.png"))))
    assert named == ("cat",) * len(bank.held_out)


def test_one_caption_in_ten_is_dropped(folder: Path) -> None:
    bank, rng = Bank(folder, CPU, side=64), random.Random(0)
    texts = [bank.caption(0, rng, 0.1) for _ in range(1000)]
    assert 70 < texts.count("") < 135
    assert {"a photo of a cat", "cat"} < set(texts)
    assert bank.caption(39, rng, 0.0) == ""


def test_pieces_are_upright_and_of_any_size(folder: Path) -> None:
    bank = Bank(folder, CPU, side=64)
    for count, size in ((1, 32), (5, 64), (4, 48)):
        pieces, rows = bank.take(count, size, random.Random(1))
        assert pieces.shape == (count, 3, size, size)
        assert len(rows) == count
        assert 0 <= float(pieces.min()) <= float(pieces.max()) <= 1


def test_the_ring_keeps_the_last() -> None:
    ring = Ring(4)
    for start in (0, 3):
        ring.add(x=torch.arange(start, start + 3), y=torch.ones(3, 2))
    assert ring.count == 4
    taken = ring.take(4, random.Random(0))
    assert sorted(taken["x"].tolist()) == [2, 3, 4, 5]
    assert taken["y"].shape == (4, 2)
    assert len(ring.take(9, random.Random(0))["x"]) == 9
