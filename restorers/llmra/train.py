"""Two-stage training of LLMRA.

Stage 1 (`<refine>`, Eq. 9): accurate sentences, no CEM. Stage 2 (`<restore>`, Eq. 10): half of each batch goes through CEM with the
sentences that an inspection of the whole picture wrote, errors included, plus the triplet loss of accurate against false
sentences; the other half stays in stage 1's manner, so that `<refine>` is not forgotten. The compact size trains CEM alone in
stage 2, all else as stage 1 left it: a short stage then cannot spoil what a long one taught.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from conservator.restorers.degradations.vocabulary import Kind, severity_of, value_at
from conservator.restorers.errors import UsageError
from conservator.restorers.llmra.config import CONFIGS
from conservator.restorers.llmra.network import LLMRA, triplet_loss
from conservator.restorers.llmra.pool import InspectedPool, Inspector
from conservator.restorers.prompts.llmra import BLIND, render
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.restorers.training.data import CropBank, Mixture, Pairs, Synthesiser
from conservator.restorers.training.loop import Budget, Trainer, autocast, choose_device
from conservator.restorers.training.losses import reconstruction_loss, tone_weights
from conservator.restorers.training.validation import validator
from conservator.restorers.weights import apply_weights, load_weights, save_weights

__all__ = ["Inspector", "erring", "false_sentence", "sentence", "train"]

T = TypeVar("T")

LOCAL = Mixture(
    weights={Kind.NOISE: 4, Kind.RAIN: 2, Kind.JPEG: 1, Kind.PEPPER_NOISE: 1, Kind.SNOW: 1},
    counts=(0.05, 0.95, 0.0, 0.0),
    partial=0.0,
)
"""What is removed at each pixel's own surroundings, one kind at a time."""

SHARP = Mixture(
    weights={
        Kind.DEFOCUS_BLUR: 3,
        Kind.MOTION_BLUR: 2,
        Kind.LOW_RESOLUTION: 2,
        Kind.LOW_LIGHT: 2,
        Kind.HAZE: 1.5,
        Kind.NOISE: 1.5,
        Kind.RAIN: 0.5,
        Kind.JPEG: 0.5,
    },
    counts=(0.05, 0.95, 0.0, 0.0),
    partial=0.0,
)
"""Blur before all else: in the full mixture 7000 steps left it untouched, alone it gained 1 dB in 800."""

CURRICULUM = ((0.0, LOCAL), (0.03, SHARP), (0.12, Mixture()))
"""(share of stage 1's budget, mixture from there on); a run that starts from weights has the whole mixture at once."""


def sentence(asked: dict[Kind, float], rng: random.Random) -> str:
    """An accurate LLMRA text; half of them with numbers, and numbers a little off as measurements are."""
    jittered = {
        kind: value_at(kind, min(1.0, max(0.02, severity_of(kind, value) + rng.gauss(0, 0.02))))
        if severity_of(kind, value) < 1
        else value
        for kind, value in asked.items()
    }
    return render(RestorationPrompt(degradations=jittered), numbers=rng.random() < 0.5)


def false_sentence(present: dict[Kind, float], rng: random.Random) -> str:
    """A text that denies what is there and claims something that is not."""
    absent = [kind for kind in Kind if kind not in present]
    wrong = rng.sample(absent, rng.randint(1, 2))
    return sentence({kind: value_at(kind, rng.uniform(0.2, 1)) for kind in wrong}, rng)


def erring(present: dict[Kind, float], rng: random.Random) -> dict[Kind, float]:
    """What a fallible inspection says: misses, false alarms, wrong levels; used until a trained one stands in."""
    said = {}
    for kind, value in present.items():
        severity = severity_of(kind, value)
        if rng.random() < 0.08 + 0.35 * max(0.0, 0.35 - severity):
            continue
        said[kind] = value_at(kind, min(1.0, max(0.05, severity + rng.gauss(0, 0.12))))
    if rng.random() < 0.15:
        alarm = rng.choice(list(Kind))
        said.setdefault(alarm, value_at(alarm, rng.uniform(0.1, 0.5)))
    return said


def _refine_texts(pairs: Pairs, rng: random.Random) -> list[str]:
    texts = []
    for asked, present in zip(pairs.asked, pairs.present, strict=True):
        if asked == present and rng.random() < 0.12:
            texts.append(BLIND)
        elif rng.random() < 0.06:
            alarm = rng.choice([kind for kind in Kind if kind not in present])
            texts.append(sentence(asked | {alarm: value_at(alarm, rng.uniform(0.1, 0.6))}, rng))
        else:
            texts.append(sentence(asked, rng))
    return texts


def _at(steps: tuple[tuple[float, T], ...], progress: float) -> T:
    """The value whose share of the budget has been reached last."""
    return next(value for share, value in reversed(steps) if progress >= share)


def train(
    config: str,
    data: Path,
    out: Path,
    *,
    minutes: float = 120,
    stage: Literal[1, 2] = 1,
    device: str = "auto",
    resume: bool = False,
    weights: Path | None = None,
    validation: Path | None = None,
    inspector: Inspector | None = None,
    pool_size: int = 1200,
    joint: bool | None = None,
    batch: int = 32,
    lr: float = 5e-4,
    sizes: tuple[tuple[float, int], ...] = ((0.0, 64), (0.7, 96)),
    compile_network: bool | None = None,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """Train one stage and return the path of its fp16 weights.

    Args:
        config: `compact` or `paper`.
        data: folder of clean images.
        out: folder of the checkpoint, the logs and the weights.
        minutes: wall time to spend, resumed parts included, inspecting excluded.
        stage: 1 is `<refine>`, 2 is `<restore>`.
        device: `auto`, `cpu`, `cuda`, ...
        resume: continue from the checkpoint in `out`, with the pictures that were inspected then.
        weights: start from these; stage 2 needs those of stage 1.
        validation: folder of clean images for the validation log.
        inspector: writes stage 2's sentences, once for each of `pool_size` pictures before training; `erring` simulates
            it when there is none.
        pool_size: pictures to inspect, a tenth of a second of one core and 0.6 MB each.
        joint: stage 2 trains the whole network, not CEM alone; None does so for `paper`.
        sizes: (share of the budget, patch side) steps; the pixel count of a batch stays the same.
        batch: patches a step at the first size.
        lr: peak learning rate.
        compile_network: None compiles on CUDA only.
        seed: of weights, patches, degradations and sentences.
        say: receives progress, a line at a time.

    Raises:
        WeightsError: `weights` or the checkpoint does not fit.
        UsageError: no images in `data`, or the inspected pictures of a resumed run do not read.
        OutputError: `out` cannot take the inspected pictures.
    """
    torch.manual_seed(seed)
    rng = random.Random(seed)
    where = choose_device(device)
    model = LLMRA(CONFIGS[config]).to(where).to(memory_format=torch.channels_last)
    if weights is not None:
        # Parts that the file does not know keep their beginning.
        apply_weights(model, {**model.state_dict(), **load_weights(weights)})
    alone = stage == 2 and not (config == "paper" if joint is None else joint)
    if alone:
        if model.cem is None:
            raise UsageError(f"configuration {config} has no CEM: there is no stage 2 for it")
        model.requires_grad_(False)
        model.cem.requires_grad_(True)
    # On a CPU the compiled network trained no faster than eager (28 against 30 patches a second).
    compiled = where.type == "cuda" if compile_network is None else compile_network
    network = torch.compile(model.network, dynamic=False) if compiled else model.network
    result = out / f"llmra-{config}.safetensors"

    def restore(net: nn.Module, degraded: Tensor, kinds: dict[Kind, float]) -> Tensor:
        assert isinstance(net, LLMRA)
        text = render(RestorationPrompt(degradations=kinds))
        with autocast(where):
            return net(degraded, [text] * len(degraded), enhance=stage == 2)

    def keep(ema: nn.Module) -> None:
        save_weights(ema, result, {"restorer": "llmra", "config": config, "stage": str(stage)})

    trainer = Trainer(
        model,
        Budget(minutes=minutes, lr=lr, clip=0.2),
        out,
        validate=validator(validation, restore, where) if validation is not None else None,
        on_checkpoint=keep,
        say=say,
    )
    if resume:
        trainer.resume()
    bank = CropBank(data)
    maker = Synthesiser(seed=seed + trainer.step, device=str(where))
    rng.seed(seed + trainer.step)
    first_size = sizes[0][1]
    pool: InspectedPool | None = None
    if stage == 2 and inspector is not None:
        kept = out / "pool.safetensors"
        if resume and kept.exists():
            pool = InspectedPool.read(kept)
            say(f"{len(pool.sides)} inspected pictures from {kept}")
        else:
            say(f"inspecting {pool_size} pictures")
            pool = InspectedPool.make(
                bank, pool_size, inspector, seed=seed, device=str(where), say=say
            )
            pool.write(kept)

    def losses() -> Iterator[Callable[[], Tensor]]:
        while True:
            size = _at(sizes, trainer.progress)
            count = max(2, round(batch * (first_size / size) ** 2))
            first = stage == 1 and weights is None
            maker.mixture = _at(CURRICULUM, trainer.progress) if first else Mixture()
            if stage == 1:
                yield partial(refined, made(count, size))
            else:
                half = count if alone else count // 2
                other = made(count - half, size) if half < count else None
                yield partial(restored, *inspected(half, size), other)

    def made(count: int, size: int) -> Pairs:
        return maker.pairs(bank.patches(count, size, maker.rng))

    def inspected(count: int, size: int) -> tuple[Pairs, list[dict[Kind, float]]]:
        if pool is not None:
            return pool.patches(count, size, maker.rng, where)
        pairs = made(count, size)
        return pairs, [erring(present, rng) for present in pairs.present]

    def refined(pairs: Pairs) -> Tensor:
        degraded = pairs.degraded.contiguous(memory_format=torch.channels_last)
        texts = _refine_texts(pairs, rng)
        with autocast(where):
            output = network(degraded, model.context(texts))
        return reconstruction_loss(
            output.float(), pairs.target, tone_weights(degraded, pairs.target)
        )

    def restored(seen: Pairs, said: list[dict[Kind, float]], other: Pairs | None) -> Tensor:
        heard = [render(RestorationPrompt(degradations=kinds)) for kinds in said]
        true = [sentence(present, rng) for present in seen.present]
        false = [false_sentence(present, rng) for present in seen.present]
        # CEM's half is to undo all that is there, whatever was said.
        degraded, target = seen.degraded, seen.clean
        with autocast(where):
            z = model.context(heard, degraded)
            contexts = [z]
            if other is not None:
                degraded = torch.cat([degraded, other.degraded])
                target = torch.cat([target, other.target])
                contexts.append(model.context(_refine_texts(other, rng)))
            degraded = degraded.contiguous(memory_format=torch.channels_last)
            output = network(degraded, torch.cat(contexts))
        with autocast(where), torch.no_grad():
            positive, negative = model.context(true), model.context(false)
        triplet = triplet_loss(z.float(), positive.float(), negative.float())
        weights = tone_weights(degraded, target)
        return reconstruction_loss(output.float(), target, weights) + 0.05 * triplet

    trainer.run(losses())
    return result
