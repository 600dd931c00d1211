"""`conservator train lm4lv`: three stages, one command, by the clock and resumable.

- `mae`: the autoencoder on clean crops, a quarter of the steps with three patches in four masked, as it is named for. The paper's is
  pre-trained: a ViT-MAE of transformers takes the place of this stage.
- `decoder`: the decoder alone, on whole pictures, behind the frozen encoder.
- `adapters`: linear layers and task tokens, encoder and language model frozen, by next-token MSE on the visual tokens of the answer.

Ours, beside the paper: a perceptual distance without weights for LPIPS; noise on the tokens of the compact size (see `mae.py`); and after a
third of the last stage half of the samples are told what the model itself answers instead of the truth, as they will be when it is used.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conservator.restorers.errors import UsageError
from conservator.restorers.guides.form import explained
from conservator.restorers.layers.qwen import without_bar
from conservator.restorers.lm4lv.config import CONFIGS, LM4LVConfig
from conservator.restorers.lm4lv.language import MODELS, LanguageModel, fingerprint
from conservator.restorers.lm4lv.losses import picture_loss
from conservator.restorers.lm4lv.mae import MAE, from_transformers, kept_patches, noisy
from conservator.restorers.lm4lv.network import LM4LV, task_numbers
from conservator.restorers.lm4lv.pictures import WEIGHTS, Crops, Degrader
from conservator.restorers.lm4lv.start import start_from_components, start_reading
from conservator.restorers.lm4lv.validation import reconstruction, restoration
from conservator.restorers.training.data import CropBank
from conservator.restorers.training.loop import Budget, Trainer, autocast, choose_device
from conservator.restorers.weights import apply_weights, load_weights, save_weights

__all__ = ["SHARES", "STAGES", "Stage", "train"]

Stage = Literal["mae", "decoder", "adapters"]
STAGES: Final[tuple[Stage, ...]] = ("mae", "decoder", "adapters")
SHARES: Final[Mapping[Stage, float]] = {"mae": 0.25, "decoder": 0.05, "adapters": 0.7}
"""Stage -> its share of the minutes where one command runs all of them."""

_RATES: Final[Mapping[Stage, float]] = {"mae": 5e-4, "decoder": 3e-4, "adapters": 1.5e-4}
_PAPER_RATE: Final = 3e-4
_MASKED, _MASKED_SHARE = 0.75, 0.25
_OWN_FROM, _OWN_SHARE = 0.33, 0.5
_START_CROPS, _START_BATCHES = 256, 32


def train(
    config: str,
    data: Path,
    out: Path,
    *,
    minutes: float = 120,
    stage: Stage | None = None,
    steps: int | None = None,
    device: str = "auto",
    resume: bool = False,
    weights: Path | None = None,
    llm: str | Path | None = None,
    mae: str | Path | None = None,
    validation: Path | None = None,
    batch: int | None = None,
    lr: float | None = None,
    switches: Mapping[str, Any] | None = None,
    tasks: Mapping[str, float] = WEIGHTS,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """Train and return the path of the fp16 weights: of all, or after the first two stages of the autoencoder alone.

    Args:
        config: `compact` or `paper`.
        data: folder of clean images.
        out: folder of the checkpoints, the logs and the weights.
        minutes: wall time of all stages, or of the one that is asked for; resumed parts included.
        stage: one of `STAGES`, on what the one before left in `out`, or on `weights` or `mae`; None for all of them.
        steps: to make in each stage instead, whatever time they take.
        device: `auto`, `cpu`, `cuda`, ...
        resume: continue from the checkpoints in `out`.
        weights: an autoencoder's, or the whole restorer's, to start from.
        llm: the language model, a directory or a hub id in the local cache; None is the configuration's own.
        mae: a ViT-MAE of transformers, likewise; it takes the place of the stage `mae`.
        validation: folder of clean images for the validation logs.
        batch: tiles a step; None is 32 on a CPU and 256 elsewhere.
        lr: peak learning rate; None is the stage's own.
        switches: changes to the configuration, for control experiments: `{"body": "random"}`.
        tasks: task -> how often it is practised.
        seed: of weights, crops and degradations.
        say: receives progress, a line at a time.

    Raises:
        UsageError: no images in `data`, a stage without the one before it, or `paper` without a ViT-MAE.
        BackendMissingError: the language model or the ViT-MAE is not on this machine.
        WeightsError: a model, `weights` or a checkpoint does not load or fit.
    """
    torch.manual_seed(seed)
    where = choose_device(device)
    size = replace(CONFIGS[config], **dict(switches or {}))
    todo = STAGES if stage is None else (stage,)
    if stage is None and mae is not None:
        todo = STAGES[1:]
    if "mae" in todo and config == "paper":
        raise UsageError("the paper's autoencoder is pre-trained; give a ViT-MAE with --mae")
    network: LM4LV | None = None
    if "adapters" in todo:
        # First of all, so that a missing language model is told before the hours of work.
        network = _untrained(size, where, llm or MODELS[config], seed)
    vision = MAE(size.mae).to(where) if network is None else network.mae
    taken = False
    if mae is not None:
        apply_weights(vision, _published(mae))
    elif weights is not None:
        taken = _take_over(weights, vision, network)
    elif todo[0] != "mae":
        before = out / f"mae-{config}.safetensors"
        if not before.is_file():
            raise UsageError(f"no {before}: run the stages before it into the same folder")
        _take_over(before, vision, network)
    run = _Run(CropBank(data), where, batch or (32 if where.type == "cpu" else 256), seed, say)
    written = out
    for name in todo:
        say(f"stage {name}")
        facts = {"restorer": "lm4lv", "config": config, "stage": name}
        trained: nn.Module
        if name == "adapters" and network is not None:
            # Autoencoder and language model are no part of it: they can neither move nor be saved twice.
            trained, prefix = network.adapters, "adapters."
            written = out / f"lm4lv-{config}.safetensors"
            facts |= {"switches": json.dumps(dict(switches or {})), "seed": str(seed)}
            if size.speaks:
                facts["llm_sha256"] = fingerprint(llm or MODELS[config])
            vision.requires_grad_(False)
            losses = _restoring(run, network, tasks, fresh=bool(size.mae.token_width) and not taken)
            validate = restoration(validation, network, where) if validation else None
        else:
            trained, prefix = vision, "mae."
            written = out / f"mae-{config}.safetensors"
            vision.encoder.requires_grad_(name == "mae")
            losses = _reconstructing(run, vision, masking=name == "mae")
            validate = reconstruction(validation, size.mae, where) if validation else None

        def keep(
            ema: nn.Module, path: Path = written, facts: Any = facts, at: str = prefix
        ) -> None:
            state = {f"{at}{key}": value for key, value in ema.state_dict().items()}
            if at == "adapters.":
                state |= {f"mae.{key}": value for key, value in vision.state_dict().items()}
            save_weights(state, path, facts)

        budget = Budget(
            minutes=minutes * SHARES[name] / sum(SHARES[other] for other in todo),
            steps=steps,
            lr=lr or (_PAPER_RATE if config == "paper" else _RATES[name]),
            betas=(0.9, 0.95),
            weight_decay=0.0 if name == "adapters" else 0.01,
        )
        trainer = Trainer(
            trained, budget, out / name, validate=validate, on_checkpoint=keep, say=say
        )
        if resume:
            trainer.resume()
        if name == "mae" and not trainer.step and size.mae.token_width and weights is None:
            crops = Crops(run.bank, size.mae.side, where, seed)
            start_from_components(vision, crops.take(_START_CROPS))
        if trainer.progress < 1:
            trainer.run(losses(trainer))
        trained.load_state_dict(trainer.ema.state_dict())
    return written


def _untrained(size: LM4LVConfig, where: torch.device, llm: str | Path, seed: int) -> LM4LV:
    language = None
    if size.speaks:
        language = LanguageModel.load(llm, where, random=size.body == "random", seed=seed)
        language.train_on(where)
    return LM4LV(size, language).to(where)


def _take_over(path: Path, vision: MAE, network: LM4LV | None) -> bool:
    """Copy an autoencoder, and the adapters where the file and the run have some; returns whether they have.

    Raises:
        WeightsError: they do not fit.
    """
    given = load_weights(path)

    def part(name: str) -> dict[str, Tensor]:
        return {n.removeprefix(name): t for n, t in given.items() if n.startswith(name)}

    apply_weights(vision, part("mae."))
    adapters = part("adapters.")
    if network is None or not adapters:
        return False
    apply_weights(network.adapters, adapters)
    return True


def _published(source: str | Path) -> dict[str, Tensor]:
    """The weights of a ViT-MAE of transformers, a directory or a hub id in the local cache.

    Raises:
        BackendMissingError: it is not on this machine, or transformers is missing.
        WeightsError: it does not load, or is something else.
    """
    with explained(source, allow_download=False, what="ViT-MAE"):
        from transformers import ViTMAEForPreTraining

        untyped: Any = ViTMAEForPreTraining
        with without_bar():
            network = untyped.from_pretrained(str(source), local_files_only=True)
    return from_transformers(network.state_dict())


@dataclass(frozen=True, eq=False)
class _Run:
    """What the stages share."""

    bank: CropBank
    where: torch.device
    batch: int
    seed: int
    say: Callable[[str], None]


Losses = Callable[[Trainer], Iterator[Callable[[], Tensor]]]


def _reconstructing(run: _Run, vision: MAE, *, masking: bool) -> Losses:
    """The losses of the autoencoder."""
    config = vision.config

    def losses(trainer: Trainer) -> Iterator[Callable[[], Tensor]]:
        seed = run.seed + trainer.step
        crops = Crops(run.bank, config.side, run.where, seed)
        torch.manual_seed(seed)

        def loss() -> Tensor:
            clean = crops.take(run.batch)
            kept = None
            if masking and float(torch.rand(())) < _MASKED_SHARE:
                kept = kept_patches(len(clean), config, _MASKED, run.where)
            with autocast(run.where):
                tokens = vision.encoder(clean, kept)
                made = vision.decoder(noisy(tokens, config.token_noise), kept)
            return picture_loss(made, clean)

        while True:
            yield loss

    return losses


def _restoring(run: _Run, network: LM4LV, tasks: Mapping[str, float], *, fresh: bool) -> Losses:
    """The losses of the adapters, which read the language model by least squares at first where they are `fresh`."""
    config = network.config
    side = config.mae.side

    def samples(seed: int) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        # A picture has four tiles where the training images are large enough.
        across = min(2, run.bank.images.shape[-1] // side)
        crops = Crops(run.bank, across * side, run.where, seed)
        degrader = Degrader(seed, run.where, tasks)
        while True:
            clean = crops.take(max(1, run.batch // across**2))
            degraded, wanted, asked = degrader.pairs(clean, side)
            with autocast(run.where), torch.no_grad():
                given, true = (network.mae.encoder(x).float() for x in (degraded, wanted))
            yield given, true, task_numbers(asked).to(run.where), wanted

    def losses(trainer: Trainer) -> Iterator[Callable[[], Tensor]]:
        seed = run.seed + trainer.step
        if fresh and not trainer.step:
            run.say("least squares for the first weights")
            start_reading(network, itertools.islice(samples(seed), _START_BATCHES))
        drawn = samples(seed)

        def loss() -> Tensor:
            given, true, numbers, wanted = next(drawn)
            with autocast(run.where):
                text: Tensor | float = 0.0
                if not config.generates:
                    answer = network(given, numbers)
                else:
                    fed = true
                    if trainer.progress > _OWN_FROM:
                        own = round(_OWN_SHARE * len(true))
                        with torch.no_grad():
                            said, _ = network.teacher_forced(given[:own], numbers[:own], true[:own])
                        fed = torch.cat([said.float(), true[own:]])
                    answer, text = network.teacher_forced(given, numbers, fed)
                answer = answer.float()
                picture: Tensor | float = 0.0
                if config.picture_loss:
                    picture = F.l1_loss(network.mae.decoder(answer), wanted)
            return (
                F.mse_loss(answer, true) + config.text_loss * text + config.picture_loss * picture
            )

        while True:
            yield loss

    return losses
