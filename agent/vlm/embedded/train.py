"""`conservator train vlm`: the embedded model in three stages, by the clock, resumable.

1. The vision tower alone, on single native crops and overviews, with heads that are thrown away: most of what is to be learnt.
2. The text model, on conversations about pictures that were really degraded, inspected and restored. They are gathered first, once.
3. Both together, for a short while.

The same command does all of it on a CPU and on a GPU, and goes on where it was stopped. With `--weights` a model that is there goes through
stage 2 once more, its tower as it is and its hidden states under the guide's question held to those of the model that ships, so that restorers
keep their guide.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from conservator.agent.vlm.embedded import MODEL
from conservator.agent.vlm.embedded.build import build_model, write_directory
from conservator.agent.vlm.embedded.conversations import Amounts, Conversation, gather, read
from conservator.agent.vlm.embedded.sight import fit_head, train_tower
from conservator.agent.vlm.embedded.speech import certainty, lessons_of, look, train_text, words_of
from conservator.agent.vlm.embedded.tower import Sight
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.errors import UsageError, WeightsError
from conservator.restorers.guides.form import explained
from conservator.restorers.layers.qwen import network_of, processor_of
from conservator.restorers.training.data import CropBank
from conservator.restorers.training.loop import choose_device

__all__ = ["SHARES", "train"]

SHARES: Mapping[int, float] = {1: 0.5, 2: 0.4, 3: 0.1}
"""Stage -> its share of the minutes; gathering conversations comes on top."""

_COMPILED_FROM = 10.0
_LR_AGAIN = 1e-3


def train(
    data: Path,
    out: Path,
    *,
    minutes: float = 120,
    stage: int | None = None,
    device: str = "auto",
    resume: bool = False,
    weights: Path | None = None,
    amounts: Amounts | None = None,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """Train and return the model's directory, or the tower's checkpoint after stage 1 alone.

    Args:
        data: folder of clean images.
        out: folder of checkpoints, logs, conversations and the model.
        minutes: wall time of all stages, or of the one that is asked for; earlier parts of a resumed run included.
        stage: 1 the tower, 2 the text model, 3 both together, each on what the one before left in `out`; None all of them.
        device: `auto`, `cpu`, `cuda`, ...
        resume: continue from the checkpoints in `out`.
        weights: directory of a model that goes through stage 2 once more, with its own tokenizer; `stage` counts for nothing then.
        amounts: how many conversations are gathered.
        seed: of weights, pictures and conversations.
        say: receives progress, a line at a time.

    Raises:
        UsageError: no images in `data`, or a stage without the one before it.
        WeightsError: a checkpoint or `weights` does not fit.
        BackendMissingError: `weights` is not there.
    """
    where = choose_device(device)
    bank = CropBank(data)
    if weights is not None:
        gathered = partial(
            gather, bank, out / "conversations", amounts or Amounts(), seed=seed, say=say
        )
        return _again(weights, gathered, out, minutes, where, resume=resume, seed=seed, say=say)
    model: Any = build_model(seed)
    width = int(model.config.text_config.hidden_size)
    spent = {s: minutes * (share if stage is None else 1.0) for s, share in SHARES.items()}
    sight = Sight(model.model.visual, width)
    if stage in (None, 1):
        sight = train_tower(
            model.model.visual,
            width,
            bank,
            out / "tower",
            minutes=spent[1],
            device=where,
            resume=resume,
            compiled=_worth_compiling(spent[1], where),
            seed=seed,
            say=say,
        )
        if stage == 1:
            return out / "tower" / "state.pt"
    gather(bank, out / "conversations", amounts or Amounts(), seed=seed, say=say)
    if stage is not None:
        _load(sight, out / "tower" / "state.pt")
    views, conversations = read(out / "conversations")
    tokenizer = words_of(conversations)
    sight = sight.to(where).eval()
    model.model.visual.load_state_dict(sight.visual.state_dict())
    features = look(sight, views, where)
    lessons = lessons_of(conversations, tokenizer, features.shape[1], _certainties(sight, features))
    say(
        f"{len(lessons)} lessons, {sum(len(x.tokens) for x in lessons) / len(lessons):.0f} tokens each"
    )
    result = out / "model"

    teach = partial(
        train_text,
        lessons=lessons,
        views=views,
        features=features,
        device=where,
        resume=resume,
        seed=seed,
        on_checkpoint=partial(_write, tokenizer=tokenizer, folder=result),
        say=say,
    )
    if stage in (None, 2):
        model = teach(model, out=out / "text", minutes=spent[2])
    else:
        _load(model, out / "text" / "state.pt")
    if stage in (None, 3):
        model = teach(model, out=out / "joint", minutes=spent[3], joint=True, lr=3e-4)
    return result


def _write(averaged: Any, *, tokenizer: Any, folder: Path) -> None:
    write_directory(averaged, tokenizer, folder)


def _again(
    weights: Path,
    gathered: Callable[[], None],
    out: Path,
    minutes: float,
    where: torch.device,
    *,
    resume: bool,
    seed: int,
    say: Callable[[str], None],
) -> Path:
    """Stage 2 from a model that is there; the heads that tell its tower's certainty are fitted anew."""
    with explained(weights, allow_download=False, what="model"):
        _, processor = processor_of(str(weights))
        model, before = (network_of(str(source), where) for source in (weights, MODEL))
    gathered()
    views, conversations = read(out / "conversations")
    sight = Sight(model.model.visual, int(model.config.text_config.hidden_size)).to(where).eval()
    features = look(sight, views, where)
    shown = {c.first: c for c in conversations if c.count > 1 and c.name != "verdict"}
    pooled = [features[c.first : c.first + c.count].float().mean(1) for c in shown.values()]
    fit_head(
        sight.cpu(),
        torch.stack([torch.stack([one[1:].mean(0), one[0]]) for one in pooled]),
        [dict(c.present) for c in shown.values()],
    )
    sight = sight.to(where)
    lessons = lessons_of(
        conversations, processor.tokenizer, features.shape[1], _certainties(sight, features)
    )
    say(f"{len(lessons)} lessons")
    train_text(
        model,
        lessons,
        views,
        features,
        out / "text",
        minutes=minutes,
        device=where,
        before=before,
        resume=resume,
        seed=seed,
        lr=_LR_AGAIN,
        on_checkpoint=partial(_write, tokenizer=processor.tokenizer, folder=out / "model"),
        say=say,
    )
    return out / "model"


def _certainties(sight: Sight, features: Tensor) -> Callable[[Conversation], Mapping[Kind, float]]:
    """The tower's certainty about each conversation's picture; several speak of the same one."""
    known: dict[int, dict[Kind, float]] = {}

    def of(conversation: Conversation) -> Mapping[Kind, float]:
        if conversation.first not in known:
            known[conversation.first] = certainty(sight, features, conversation)
        return known[conversation.first]

    return of


def _load(network: torch.nn.Module, path: Path) -> None:
    """Averaged weights out of a checkpoint.

    Raises:
        UsageError: the stage before has not run.
        WeightsError: it is another network's.
    """
    if not path.is_file():
        raise UsageError(f"no {path}: run the stage before it into the same folder")
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["ema"])
    except (RuntimeError, KeyError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise WeightsError(f"{path} does not fit: {first}; start in an empty folder") from error


def _worth_compiling(minutes: float, device: torch.device) -> bool:
    """Whether there is a compiler for the device, and time that it could save."""
    if minutes < _COMPILED_FROM:
        return False
    if device.type == "cpu":
        return shutil.which("g++") is not None
    return importlib.util.find_spec("triton") is not None
