"""Training of SPIRE, stage by stage: autoencoder, prior, branch, fidelity path; on a base, the branch alone.

What the paper does: the branch, with prior and text frozen, on half Real-ESRGAN's pipeline and half the parameterised one, prompts with and
without numbers, c_s dropped at times. What is added is in `config.py`, each with a switch. The stages before the branch stand in for
Stable Diffusion, which the compact size has not.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from conservator.restorers.errors import UsageError
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.restorers.spire.autoencoder import Autoencoder
from conservator.restorers.spire.base import base_named, needs_diffusers, on_base
from conservator.restorers.spire.config import CONFIGS
from conservator.restorers.spire.diffusion import drawn
from conservator.restorers.spire.network import Prior, Spire
from conservator.restorers.spire.parts import (
    STAGES,
    ours,
    read_into,
    stages_in,
    switches_in,
    write,
)
from conservator.restorers.spire.pictures import Bank, Ring
from conservator.restorers.spire.restorer import instructions
from conservator.restorers.spire.stages import STEPS, Bench, diffusion_loss
from conservator.restorers.training.loop import Budget, Trainer, autocast, choose_device
from conservator.restorers.training.validation import CASES, psnr, validation_pairs
from conservator.restorers.weights import load_weights

__all__ = ["PLANS", "Plan", "train"]

_CASES = ("noise15", "noise50", "jpeg20", "defocus", "low_resolution", "blur+jpeg", "clean")
_MEASURED = 64
"""Crops whose latents give the autoencoder's scale."""


@dataclass(frozen=True)
class Plan:
    """How a stage is trained; pairs are for a CPU and for a GPU.

    Attributes:
        share: of the minutes of all stages.
        lr: peak learning rate.
        batch: samples a step.
        size: of their pictures, px.
        ring: pictures kept on the device.
        reuse: how often each picture is drawn, on average.
        clip: of the gradient's norm.
    """

    share: float
    lr: float
    batch: tuple[int, int]
    size: tuple[int, int]
    ring: tuple[int, int] = (256, 4096)
    reuse: tuple[int, int] = (8, 24)
    clip: float = 1.0


PLANS: dict[str, Plan] = {
    "autoencoder": Plan(0.25, 1e-3, (8, 64), (96, 128), clip=0.2),
    "prior": Plan(0.2, 5e-4, (8, 256), (128, 256), reuse=(4, 8)),
    "branch": Plan(0.37, 5e-4, (8, 192), (128, 256)),
    "fidelity": Plan(0.18, 5e-4, (8, 64), (128, 256), reuse=(8, 16), clip=0.2),
}
_ON_BASE = Plan(1.0, 5e-5, (2, 16), (256, 512), ring=(64, 1024))


def train(
    config: str,
    data: Path,
    out: Path,
    *,
    stage: str | None = None,
    minutes: float = 120,
    steps: int | None = None,
    device: str = "auto",
    resume: bool = False,
    weights: Path | None = None,
    base: str | Path | None = None,
    validation: Path | None = None,
    batch: int | None = None,
    size: int | None = None,
    lr: float | None = None,
    switches: Mapping[str, Any] | None = None,
    compile_network: bool | None = None,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """Train one stage or all of them, and return the path of the fp16 weights.

    Args:
        config: `compact` or `paper`.
        data: folder of clean images; a manifest.csv in it with the columns file and caption gives the semantic prompts.
        out: folder of the weights, of a folder a stage with its checkpoint and logs, and of the captioned crops held out.
        stage: one of `STAGES`; None goes through all (of `paper`: the branch, the one stage that it has).
        minutes: wall time to spend in all, resumed parts included.
        steps: to make in each stage instead, whatever time they take.
        device: `auto`, `cpu`, `cuda`, ...
        resume: continue from the checkpoints in `out`.
        weights: of the stages before.
        base: of `paper`: a Stable-Diffusion-class model; None takes `CONSERVATOR_SPIRE_BASE`.
        validation: folder of clean images for the validation logs.
        batch: samples a step, in place of the plan's.
        size: px a side of the training pictures, in place of the plan's.
        lr: peak learning rate, in place of the plan's.
        switches: changes to the configuration, for ablations: `{"fusion": "add"}`; they are kept with the weights.
        compile_network: None compiles on CUDA only.
        seed: of weights, pictures, degradations, prompts and noise.
        say: receives progress, a line at a time.

    Raises:
        UsageError: no images in `data`, no base, or a stage whose predecessors are not trained.
        WeightsError: base, weights or a checkpoint do not load or fit.
        BackendMissingError: the base is not on this machine, or diffusers is missing.
    """
    needs_diffusers()
    torch.manual_seed(seed)
    where = choose_device(device)
    if where.type == "cuda":
        torch.backends.cudnn.benchmark = True
    result = out / f"spire-{config}.safetensors"
    given = result if resume and result.is_file() else weights
    chosen, changed = CONFIGS[config], dict(switches or {})
    if given is not None:
        changed = switches_in(given) | changed
    chosen = replace(chosen, **changed)
    on = base_named(base) if config == "paper" else ""
    model = (on_base(chosen, on) if on else Spire(chosen)).to(where)
    model = model.to(memory_format=torch.channels_last)
    trained = {"autoencoder", "prior"} if on else set()
    if given is not None:
        read_into(model, load_weights(given))
        trained |= set(stages_in(given))
    names = _stages(stage, config, trained)
    if resume and stage is None:
        # A stage that was left behind is not gone into again: later ones stand on it.
        begun = [name for name in names if name in trained]
        names = names[names.index(begun[-1]) :] if begun else names
    bank = Bank(data, where)
    if bank.held_out:
        say(f"{len(bank.held_out)} captioned crops held out: {bank.export_held_out(out)}")
    for name in names:
        plan = _ON_BASE if on else PLANS[name]
        spent = minutes * (plan.share if stage is None and not on else 1.0)
        say(f"stage {name}, {spent:.1f} minutes" if steps is None else f"stage {name}")
        part: nn.Module = getattr(model.requires_grad_(False), name).requires_grad_(True)
        if name == "branch" and "branch" not in trained:
            model.branch.initialise(model.prior)

        def keep(ema: nn.Module, name: str = name) -> None:
            if isinstance(ema, Autoencoder):
                ema.measure(_first(bank))
            state = ours(model) | {f"{name}.{key}": x for key, x in ema.state_dict().items()}
            done = STAGES[: STAGES.index(name) + 1]
            write(state, result, done, config, changed, **({"base": on} if on else {}))

        trainer = Trainer(
            part,
            Budget(minutes=spent, steps=steps, lr=lr or plan.lr, clip=plan.clip, weight_decay=0.01),
            out / name,
            validate=_validation(model, name, bank, validation, where),
            on_checkpoint=keep,
            say=say,
        )
        if resume:
            trainer.resume()
        torch.manual_seed(seed + trainer.step)
        gpu = where.type == "cuda"
        samples = batch or plan.batch[gpu]
        bench = Bench(
            model=model,
            bank=bank,
            device=where,
            rng=random.Random(f"{seed}/{name}/{trainer.step}"),
            batch=samples,
            size=size or plan.size[gpu],
            fresh=samples / plan.reuse[gpu],
            ring=Ring(plan.ring[gpu]),
            compile=gpu if compile_network is None else compile_network,
        )
        trainer.run(_forever(STEPS[name](bench)))
        part.load_state_dict(trainer.ema.state_dict())
        trained.add(name)
    return result


def _forever(step: Callable[[], Tensor]) -> Iterator[Callable[[], Tensor]]:
    while True:
        yield step


def _first(bank: Bank) -> Tensor:
    """The same crops each time."""
    rows = bank.rows[:: max(1, len(bank.rows) // _MEASURED)][:_MEASURED]
    pieces: Tensor = bank.images[rows].float() / 255
    return pieces[..., :256, :256]


def _stages(stage: str | None, config: str, trained: set[str]) -> list[str]:
    """The stages to go through.

    Raises:
        UsageError: a stage that the configuration has not, or whose predecessors are not trained.
    """
    known = ("branch",) if config == "paper" else STAGES
    wanted = list(known) if stage is None else [stage]
    for name in wanted:
        if name not in known:
            raise UsageError(f"{config} has {', '.join(known)} to train, no stage {name!r}")
    missing = [name for name in STAGES[: STAGES.index(wanted[0])] if name not in trained]
    if missing:
        raise UsageError(
            f"stage {wanted[0]} needs {', '.join(missing)} first; give their weights with --weights"
        )
    return wanted


# ── validation ──────────────────────────────────────────────────────────────
Figures = Callable[[nn.Module], dict[str, float]]


def _validation(
    model: Spire, name: str, bank: Bank, folder: Path | None, where: torch.device
) -> Figures | None:
    """What a stage reports now and then; None where there is nothing to report it on."""
    if name == "prior":
        return partial(_captions, model, bank) if len(bank.held_out) > 1 else None
    if folder is None:
        return None
    pairs = validation_pairs(folder, crops=6 if where.type == "cuda" else 2)
    if name == "autoencoder":
        clean = pairs["clean"][1].to(where)
        return partial(_ceiling, clean)
    pairs = {case: pairs[case] for case in _CASES}
    return partial(_restored, model, name, pairs, where)


def _ceiling(clean: Tensor, ema: nn.Module) -> dict[str, float]:
    """PSNR of what the autoencoder gives back: no restoration without the fidelity path is better."""
    assert isinstance(ema, Autoencoder)
    given = torch.cat([ema.drawn(ema.unfolded(one[None])) for one in clean])
    return {"psnr": float(psnr(given, clean).mean())}


def _captions(model: Spire, bank: Bank, ema: nn.Module) -> dict[str, float]:
    """Eq. 1 on the crops held out, told the right caption, another crop's, and nothing."""
    assert isinstance(ema, Prior)
    rows = bank.held_out[:64]
    right = [f"a photo of a {bank.captions[row]}" for row in rows]
    told = {"right": right, "wrong": right[1:] + right[:1], "nothing": [""] * len(rows)}
    pieces = bank.images[rows].float()[..., :256, :256] / 255
    z = torch.cat([model.encode(piece[None]) for piece in pieces])
    figures = {}
    for key, texts in told.items():
        said = ema.text(ema.text.tokens(texts).to(z.device))
        with torch.random.fork_rng(devices=[z.device] if z.is_cuda else []):
            torch.manual_seed(0)
            loss = diffusion_loss(model, z, partial(ema, said=said))
        figures[key] = float(loss)
    return figures


def _restored(
    model: Spire,
    name: str,
    pairs: Mapping[str, tuple[Tensor, Tensor]],
    where: torch.device,
    ema: nn.Module,
) -> dict[str, float]:
    """PSNR of restored crops, told the truth, and the mean gain over the input."""
    trained = getattr(model, name)
    setattr(model, name, ema)
    try:
        figures, gains = {}, []
        weight = 1.0 if name == "fidelity" else 0.0
        for case, (degraded, clean) in pairs.items():
            text = instructions(RestorationPrompt(degradations=CASES[case]))
            restored = torch.cat([_one(model, y[None].to(where), text, weight) for y in degraded])
            figures[case] = float(psnr(restored.cpu(), clean).mean())
            if case != "clean":
                gains.append(figures[case] - float(psnr(degraded, clean).mean()))
        return figures | {"mean_gain": sum(gains) / len(gains)}
    finally:
        setattr(model, name, trained)


def _one(model: Spire, degraded: Tensor, text: str, weight: float) -> Tensor:
    config = model.config
    side = [n // model.autoencoder.factor for n in degraded.shape[-2:]]
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, config.latent_channels, *side, generator=generator)
    noise = noise.to(degraded.device)
    with autocast(degraded.device):
        asked, shown = model.restoring([text]), model.showing([""])
        z = drawn(model, degraded, asked, shown, config.sampling, noise)
        return model.decode(z, degraded, asked, weight).float()
