"""Second part of the training: the text model learns to read, answer and plan; third part: everything together."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conservator.agent.vlm.embedded.build import VOCABULARY_SIZE
from conservator.agent.vlm.embedded.case import bounded
from conservator.agent.vlm.embedded.conversations import Conversation
from conservator.agent.vlm.embedded.language import SPECIAL, fixed_texts, tokenizer_of
from conservator.agent.vlm.embedded.sight import labels_of
from conservator.agent.vlm.embedded.tower import Sight, tower_features
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.training.loop import Budget, Trainer, autocast

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen2_5_VLForConditionalGeneration

__all__ = [
    "WEIGHTS",
    "Lesson",
    "certainty",
    "lessons_of",
    "look",
    "places_of",
    "train_text",
    "words_of",
]

WEIGHTS: Mapping[str, float] = {
    "condition": 4.0,
    "plan": 4.0,
    "verdict": 0.9,
    "refine": 1.4,
    "sentences": 0.7,
    "guide": 1.2,
}
"""How often a question is practised."""

_IMAGE = SPECIAL.index("<|image_pad|>")
_READING = 0.3
"""Share of the time that begins with conversations without pictures: what a reading says is easier to hear alone."""
_BLUR = 0.03
"""Noise on the tower's features, of their own size: a picture that comes again is not quite the same."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """A conversation as the network takes it.

    Attributes:
        name: of the question.
        tokens: (T,) ids, question and answer.
        answer: place of the answer's first token.
        places: (3, T) positions.
        first: number of the first view.
        count: of views.
    """

    name: str
    tokens: Tensor
    answer: int
    places: Tensor
    first: int
    count: int


def words_of(
    conversations: Sequence[Conversation], vocabulary: int = VOCABULARY_SIZE
) -> PreTrainedTokenizerFast:
    """The tokenizer for a store of conversations."""
    texts: list[str] = []
    fixed = fixed_texts()
    for conversation in conversations:
        text = conversation.text
        for known in fixed:
            text = text.replace(known, "")
        texts += [text, conversation.answer]
    roles = ("system\n", "user\n", "assistant\n")
    texts += [*fixed, *roles, *(kind.value for kind in Kind)] * 20
    return tokenizer_of(texts, vocabulary, fixed)


def places_of(tokens: Tensor, side: int) -> Tensor:
    """Positions (3, T) as the architecture counts them: along, down and across; a picture is `side` x `side` tokens."""
    places = torch.empty(3, len(tokens), dtype=torch.long)
    at, place = 0, 0
    image = tokens == _IMAGE
    while at < len(tokens):
        if image[at]:
            grid = torch.arange(side * side)
            block = torch.stack([torch.zeros_like(grid), grid // side, grid % side]) + place
            places[:, at : at + side * side] = block
            at, place = at + side * side, place + side
        else:
            places[:, at] = place
            at, place = at + 1, place + 1
    return places


@torch.inference_mode()
def look(sight: Sight, views: Tensor, device: torch.device, batch: int = 64) -> Tensor:
    """The tower's features of all views (N, 3, S, S), uint8: (N, tokens, width), half precision."""
    seen = []
    for start in range(0, len(views), batch):
        with autocast(device):
            part = views[start : start + batch].to(device).float() / 255
            seen.append(tower_features(sight.visual, part).to("cpu", torch.float16))
    return torch.cat(seen) if seen else torch.zeros(0, 1, 1, dtype=torch.float16)


@torch.inference_mode()
def certainty(sight: Sight, features: Tensor, conversation: Conversation) -> dict[Kind, float]:
    """How probable the tower finds each kind that is there, within a level of its own."""
    device = sight.whole_head.weight.device
    part = features[conversation.first : conversation.first + conversation.count]
    read = sight.whole(part.to(device)).cpu()
    there, levels = read[:, 0].sigmoid(), read[:, 1:].softmax(-1)
    _, true = labels_of([dict(conversation.present)])
    near = torch.zeros(len(Kind), 5)
    for level in range(1, 5):
        near[:, level] = true[0, :, max(0, level - 1) : level + 2].sum(-1).clamp(max=1)
    probability = there * 0.5 + 0.5 * (levels * near).sum(-1)
    return {kind: float(probability[i]) for i, kind in enumerate(Kind)}


def _confident(answer: str, sure: Mapping[Kind, float], inspected: bool) -> str:
    """A condition report with the tower's certainty worked in: alone, or with the inspection's."""
    report = json.loads(answer)
    for seen in report["degradations"]:
        tower = sure[Kind(seen["kind"])]
        seen["confidence"] = bounded((seen["confidence"] + tower) / 2 if inspected else tower)
    return json.dumps(report, separators=(",", ":"))


def lessons_of(
    conversations: Sequence[Conversation],
    tokenizer: PreTrainedTokenizerFast,
    tokens_a_view: int,
    certainty: Callable[[Conversation], Mapping[Kind, float]] | None = None,
) -> list[Lesson]:
    """Conversations as tokens; certainties go into the condition reports where they are given."""
    side = round(tokens_a_view**0.5)
    lessons = []
    for conversation in conversations:
        turns = conversation.turns()
        if conversation.name == "condition" and conversation.count and certainty is not None:
            sure = certainty(conversation)
            written = _confident(conversation.answer, sure, conversation.inspected)
            turns[-1]["content"] = written
        tools = conversation.offered() or None

        def rendered(shown: list[dict[str, Any]], tools: Any = tools, **options: Any) -> Tensor:
            text = tokenizer.apply_chat_template(shown, tools=tools, tokenize=False, **options)
            pad = SPECIAL[_IMAGE]
            text = str(text).replace(pad, pad * tokens_a_view)
            return torch.tensor(tokenizer(text, add_special_tokens=False)["input_ids"])

        asked = rendered(turns[:-1], add_generation_prompt=True)
        # The line's end behind <|im_end|> is never written by a model.
        whole = torch.cat([asked, rendered_answer(tokenizer, turns[-1]["content"])])
        lessons.append(
            Lesson(
                conversation.name,
                whole.to(torch.int32),
                len(asked),
                places_of(whole, side),
                conversation.first,
                conversation.count,
            )
        )
    return lessons


def rendered_answer(tokenizer: PreTrainedTokenizerFast, answer: str) -> Tensor:
    """The tokens of an answer, its end included."""
    ids = tokenizer(answer + "<|im_end|>", add_special_tokens=False)["input_ids"]
    return torch.tensor(ids)


def _batches(lessons: Sequence[Lesson], batch: int, rng: random.Random) -> Iterator[list[Lesson]]:
    """Endless batches of lessons of like length, each question as often as `WEIGHTS` has it."""
    by_name: dict[str, list[Lesson]] = {}
    for lesson in lessons:
        by_name.setdefault(lesson.name, []).append(lesson)
    names = list(by_name)
    while True:
        drawn = [
            rng.choice(by_name[name])
            for name in rng.choices(names, [WEIGHTS.get(n, 1.0) for n in names], k=8 * batch)
        ]
        drawn.sort(key=lambda lesson: len(lesson.tokens))
        groups = [drawn[i : i + batch] for i in range(0, len(drawn), batch)]
        rng.shuffle(groups)
        yield from groups


def loss_of(
    model: Any,
    lessons: Sequence[Lesson],
    features: Callable[[Lesson], Tensor],
    device: torch.device,
    before: Any = None,
) -> Tensor:
    """Mean cross-entropy of the answers' tokens.

    Args:
        model: Qwen2_5_VLForConditionalGeneration.
        lessons: padded behind, which causal attention never sees.
        features: of a lesson's views, (views * tokens, width).
        device: where to compute.
        before: the model as it was, whose hidden states under the guide's question are held to: restorers were trained on them.
            Their relative squared error is added.
    """
    longest = max(len(lesson.tokens) for lesson in lessons)
    tokens = torch.zeros(len(lessons), longest, dtype=torch.long)
    places = torch.zeros(3, len(lessons), longest, dtype=torch.long)
    wanted = torch.zeros(len(lessons), longest, dtype=torch.bool)
    for row, lesson in enumerate(lessons):
        n = len(lesson.tokens)
        tokens[row, :n], places[:, row, :n] = lesson.tokens.long(), lesson.places
        wanted[row, lesson.answer : n] = True
    tokens, places, wanted = tokens.to(device), places.to(device), wanted.to(device)
    shown = {row: features(lesson) for row, lesson in enumerate(lessons) if lesson.count}

    def hidden_of(network: Any, rows: list[int]) -> Tensor:
        embedded = network.get_input_embeddings()(tokens[rows])
        pictures = [shown[row] for row in rows if row in shown]
        if pictures:
            image = (tokens[rows] == _IMAGE)[..., None]
            embedded = embedded.masked_scatter(
                image, torch.cat(pictures).to(device, embedded.dtype)
            )
        hidden: Tensor = network.model.language_model(
            inputs_embeds=embedded, position_ids=places[:, rows], use_cache=False
        ).last_hidden_state
        return hidden

    with autocast(device):
        hidden = hidden_of(model, list(range(len(lessons))))
        logits = model.lm_head(hidden[:, :-1][wanted[:, 1:]])
    loss = F.cross_entropy(logits.float(), tokens[:, 1:][wanted[:, 1:]])
    guiding = [row for row, lesson in enumerate(lessons) if lesson.name == "guide"]
    if before is None or not guiding:
        return loss
    with torch.no_grad(), autocast(device):
        held = hidden_of(before, guiding).float()
    lengths = torch.tensor([len(lessons[row].tokens) for row in guiding], device=device)
    real = torch.arange(longest, device=device) < lengths[:, None]
    moved = (hidden[guiding].float() - held)[real].square().mean()
    return loss + moved / held[real].square().mean()


def train_text(
    model: Qwen2_5_VLForConditionalGeneration,
    lessons: Sequence[Lesson],
    views: Tensor,
    features: Tensor,
    out: Path,
    *,
    minutes: float,
    device: torch.device,
    joint: bool = False,
    before: Any = None,
    resume: bool = False,
    batch: int = 24,
    lr: float = 1.5e-3,
    seed: int = 0,
    on_checkpoint: Callable[[Any], None] = lambda model: None,
    say: Callable[[str], None] = lambda text: None,
) -> Any:
    """Train on lessons; returns the averaged model.

    Args:
        model: with a trained tower; changed in place.
        lessons: from `lessons_of`.
        views: (N, 3, S, S), uint8, that the lessons number.
        features: of the views, from `look`; not used when `joint`.
        out: folder of checkpoint and log.
        minutes: wall time, resumed parts included.
        device: where to compute.
        joint: train the tower as well, on the views themselves.
        before: see `loss_of`.
        resume: continue from the checkpoint in `out`.
        batch: lessons a step.
        lr: peak learning rate.
        seed: of the order.
        on_checkpoint: receives the averaged model.
        say: receives progress.
    """
    network: Any = model
    network.to(device)
    # Backwards, fused attention is several times slower on a CPU than the plain product at these lengths.
    network.set_attn_implementation("eager" if device.type == "cpu" else "sdpa")
    network.requires_grad_(True)
    network.model.visual.requires_grad_(joint)
    network.model.visual.patch_embed.requires_grad_(False)
    trainer = Trainer(
        network,
        Budget(minutes=minutes, lr=lr, warmup=100, weight_decay=0.02, ema=0.998),
        out,
        on_checkpoint=on_checkpoint,
        say=say,
    )
    if resume:
        trainer.resume()
    draws = random.Random(seed + trainer.step)
    order = _batches(lessons, batch, draws)
    spoken = [lesson for lesson in lessons if not lesson.count]
    held = [lesson for lesson in lessons if lesson.name == "guide"] if before is not None else []
    # Shorter ones, so more of them.
    reading = _batches([*spoken, *held], 2 * batch, draws) if spoken else order

    def seen(lesson: Lesson) -> Tensor:
        rows = slice(lesson.first, lesson.first + lesson.count)
        if joint:
            shown = views[rows].to(device).float() / 255
            return tower_features(network.model.visual, shown).flatten(0, 1)
        known = features[rows].to(device).float()
        return (known + _BLUR * known.std() * torch.randn_like(known)).flatten(0, 1)

    def losses() -> Iterator[Callable[[], Tensor]]:
        while True:
            group = next(reading if trainer.progress < _READING else order)
            yield partial(loss_of, network, group, seen, device, before)

    if trainer.progress < 1:
        trainer.run(losses())
    averaged: nn.Module = trainer.ema
    return averaged
