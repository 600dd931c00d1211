"""Training of MoFE-IR on composite degradations, with the guide frozen.

The paper trains 250 epochs on CDD11 alone with L1, Eq. 7 and Eq. 8. Here the mixture also has noise, blur, JPEG and the rest, half of the
prompts carry the answer, the reconstruction loss is the one that LLMRA's training settled on, and patches grow with the budget.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from conservator.restorers.addresses import is_url
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.errors import UsageError, WeightsError
from conservator.restorers.guides.base import GuideEmbeddings
from conservator.restorers.guides.qwen import SHIPPED, QwenGuide, fingerprint
from conservator.restorers.mofe_ir.config import CONFIGS
from conservator.restorers.mofe_ir.network import MoFEIR, guided_loss
from conservator.restorers.mofe_ir.pictures import Composites, Gallery
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.restorers.prompts.mofe import render
from conservator.restorers.training.data import CropBank
from conservator.restorers.training.loop import Budget, Trainer, autocast, choose_device
from conservator.restorers.training.losses import reconstruction_loss, tone_weights
from conservator.restorers.training.validation import validator
from conservator.restorers.weights import apply_weights, load_weights, save_weights

__all__ = ["take_over", "train"]

_PATCHES_A_PICTURE = 8


def take_over(model: nn.Module, path: Path) -> float:
    """Copy all that a file has under the same name and shape, LLMRA's backbone included; the rest keeps its beginning.

    Returns:
        The share of the model's parameters that was taken.

    Raises:
        WeightsError: the file does not read, or has nothing of it.
    """
    own = model.state_dict()
    given = {name.removeprefix("network."): t for name, t in load_weights(path).items()}
    fitting = {n: t for n, t in given.items() if n in own and t.shape == own[n].shape}
    if not fitting:
        raise WeightsError(f"{path} has no part of {type(model).__name__}; give other weights")
    apply_weights(model, {**own, **fitting})
    return sum(t.numel() for t in fitting.values()) / sum(t.numel() for t in own.values())


def train(
    config: str,
    data: Path,
    out: Path,
    *,
    minutes: float = 120,
    steps: int | None = None,
    device: str = "auto",
    resume: bool = False,
    weights: Path | None = None,
    guide: str | Path = SHIPPED,
    validation: Path | None = None,
    batch: int = 32,
    lr: float = 5e-4,
    sizes: tuple[tuple[float, int], ...] = ((0.0, 64), (0.7, 96)),
    switches: Mapping[str, Any] | None = None,
    mgl: float = 0.1,
    pictures: int = 256,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """Train and return the path of the fp16 weights.

    Args:
        config: `compact` or `paper`.
        data: folder of clean images.
        out: folder of the checkpoint, the logs and the weights.
        minutes: wall time to spend, resumed parts included.
        steps: to make instead, whatever time they take.
        device: `auto`, `cpu`, `cuda`, ...
        resume: continue from the checkpoint in `out`.
        weights: start from what fits in these: an earlier MoFE-IR's, or LLMRA's.
        guide: a Qwen2.5-VL as wide as the configuration's `guide_width`; frozen.
        validation: folder of clean images for the validation log; the prompts carry the true answers.
        batch: patches a step at the first size.
        lr: peak learning rate.
        sizes: (share of the budget, patch side) steps; the pixel count of a batch stays the same.
        switches: changes to the configuration, for ablations: `{"use_mofe": False}`.
        mgl: weight of the guided loss, Eq. 7; 0 leaves it out.
        pictures: degraded pictures in memory, 0.3 MB each.
        seed: of weights, pictures, degradations and prompts.
        say: receives progress, a line at a time.

    Raises:
        UsageError: no images in `data`, or a guide of another width or behind a server.
        BackendMissingError: the guide is not on this machine.
        WeightsError: the guide, `weights` or the checkpoint does not load or fit.
    """
    torch.manual_seed(seed)
    where = choose_device(device)
    chosen = replace(CONFIGS[config], **dict(switches or {}))
    if is_url(str(guide)):
        raise UsageError(f"training looks at whole batches; give the model itself, not {guide}")
    looking = QwenGuide(guide, where)
    if looking.width != chosen.guide_width:
        raise UsageError(
            f"the guide {str(guide)!r} is {looking.width} wide, configuration {config} takes {chosen.guide_width}; "
            "give another guide"
        )
    model = MoFEIR(chosen).to(where).to(memory_format=torch.channels_last)
    if weights is not None:
        say(f"{take_over(model, weights):.0%} of the network starts from {weights}")
    result = out / f"mofe-ir-{config}.safetensors"
    facts = {"restorer": "mofe-ir", "config": config, "guide_sha256": fingerprint(guide)}
    shown: dict[str, GuideEmbeddings] = {}

    def restore(net: nn.Module, degraded: Tensor, kinds: dict[Kind, float]) -> Tensor:
        # Cases are told apart by their prompts, and their pictures never change.
        text = render(RestorationPrompt(degradations=kinds))
        if text not in shown:
            shown[text] = looking.embed(degraded, text)
        with autocast(where):
            return net(degraded, shown[text])

    def keep(ema: nn.Module) -> None:
        save_weights(ema, result, facts)

    trainer = Trainer(
        model,
        Budget(minutes=minutes, steps=steps, lr=lr, clip=0.2),
        out,
        validate=validator(validation, restore, where) if validation is not None else None,
        on_checkpoint=keep,
        say=say,
    )
    if resume:
        trainer.resume()
    maker = Composites(seed=seed + trainer.step, device=str(where))
    gallery = Gallery(CropBank(data), maker, looking, size=pictures, first=min(pictures, 2 * batch))

    def losses() -> Iterator[Callable[[], Tensor]]:
        while True:
            size = next(side for share, side in reversed(sizes) if trainer.progress >= share)
            count = max(2, round(batch * (sizes[0][1] / size) ** 2))

            def step(size: int = size, count: int = count) -> Tensor:
                gallery.grow(max(1, round(count / _PATCHES_A_PICTURE)))
                return loss(count, size)

            yield step

    def loss(count: int, size: int) -> Tensor:
        taken = gallery.take(count, size, where)
        degraded = taken.degraded.contiguous(memory_format=torch.channels_last)
        routed = model.route(taken.guide.answer)
        with autocast(where):
            curve = model.curve(taken.whole, taken.guide)
            output = model(degraded, taken.guide, curve, routed)
        tone = tone_weights(degraded, taken.target)
        total = reconstruction_loss(output.float(), taken.target, tone)
        if mgl and model.router is not None:
            total = total + mgl * guided_loss(taken.guide.answer, routed)
        return total

    trainer.run(losses())
    return result
