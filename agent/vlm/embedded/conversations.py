"""A store of conversations: pictures that were really degraded, inspected and restored once, before the text model trains.

An inspection takes a tenth of a second, so a run gathers some thousands, in parts that are written one by one; a run that was stopped goes
on with the next part. Views are kept as bytes and questions as text, so neither a new tower nor a new tokenizer needs new inspections.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from conservator.agent.vlm.embedded.case import Case, Dialogue, Pair
from conservator.agent.vlm.embedded.dialogues import (
    about,
    judged,
    planned,
    read_aloud,
    refinements,
)
from conservator.agent.vlm.embedded.pictures import MIXTURE, SPOILED, Studio
from conservator.restorers import catalog
from conservator.restorers.degradations.vocabulary import (
    ConditionReport,
    Finding,
    Kind,
    value_at,
)
from conservator.restorers.errors import ConservatorError, UsageError
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.restorers.training.data import CropBank
from conservator.restorers.training.parts import missing_parts, save_part

__all__ = ["Amounts", "Conversation", "gather", "read", "stored"]

_SIDE = 288
_PART = 100
_SPOKEN: Mapping[str, Callable[[random.Random], Dialogue]] = {
    "remarks": refinements,
    "read": read_aloud,
}
"""Conversations without pictures."""


@dataclass(frozen=True)
class Amounts:
    """How much is gathered.

    Attributes:
        inspected: pictures with the instruments' readings.
        looked_at: pictures without; they cost a fifth.
        planned: pictures with readings made up around the truth, for plans alone.
        treated: pictures that are restored and inspected again.
        read: readings to be repeated, without pictures.
        remarks: of users, without pictures.
    """

    inspected: int = 4000
    looked_at: int = 3000
    planned: int = 4000
    treated: int = 700
    read: int = 12000
    remarks: int = 8000


@dataclass(frozen=True, eq=False)
class Conversation:
    """One question with its answer.

    Attributes:
        name: of the question.
        system: system text.
        text: of the question, behind its views.
        tools: name -> strengths it takes.
        answer: what the model shall write.
        first: number of its first view in the store.
        count: of its views.
        present: what is wrong with the picture; empty for remarks.
        inspected: whether the readings are in the text.
    """

    name: str
    system: str
    text: str
    tools: Mapping[str, tuple[str, ...]]
    answer: str
    first: int
    count: int
    present: Mapping[Kind, float]
    inspected: bool

    def turns(self) -> list[dict[str, Any]]:
        """As a chat template takes them."""
        content = [{"type": "image"}] * self.count + [{"type": "text", "text": self.text}]
        return [
            {"role": "system", "content": self.system},
            {"role": "user", "content": content},
            {"role": "assistant", "content": self.answer},
        ]

    def offered(self) -> list[dict[str, Any]]:
        """Its tools, as far as the template shows them."""
        return [
            {
                "function": {
                    "name": name,
                    "parameters": {"properties": {key: {} for key in strengths}},
                }
            }
            for name, strengths in self.tools.items()
        ]


def gather(
    bank: CropBank,
    folder: Path,
    amounts: Amounts,
    *,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Write what is not there yet, part by part.

    Args:
        bank: clean pictures.
        folder: of the parts.
        amounts: how much of what; rounded up to whole parts.
        seed: the same seed and instruments make the same conversations.
        say: receives progress, a line at a time.
    """
    plans = {
        "looked": (amounts.looked_at, 1),
        "planned": (amounts.planned, 0),
        "inspected": (amounts.inspected, 2),
        "treated": (amounts.treated, 3),
        "remarks": (amounts.remarks, 4),
        "read": (amounts.read, 6),
    }
    for name, (count, way) in plans.items():
        size = _PART if name not in _SPOKEN else 40 * _PART
        for part, path in missing_parts(folder, name, count, size):
            rng = random.Random(f"{seed} {name} {part}")
            _write(path, _part(bank, name, size, rng, seed=(seed * 1000 + part) * 8 + way))
            say(f"{name}: {min(count, (part + 1) * size)} of {count}")


def _part(
    bank: CropBank, name: str, size: int, rng: random.Random, *, seed: int
) -> Iterator[tuple[Dialogue, bool, Case | None]]:
    """Conversations of one part: each with whether it shows the views of the one before, and its picture."""
    if name in _SPOKEN:
        for _ in range(size):
            yield _SPOKEN[name](rng), False, None
        return
    studio = Studio(bank, seed=seed, mixture=SPOILED if name == "planned" else MIXTURE)
    for _ in range(size // 4):
        taken = studio.take(4, _SIDE)
        for degraded, clean, present in zip(
            taken.degraded, taken.clean, taken.present, strict=True
        ):
            before, ideal = (x.permute(1, 2, 0).contiguous().numpy() for x in (degraded, clean))
            if name in ("looked", "planned"):
                case = Case(before, ideal, present)
            else:
                case = Case(before, ideal, present, ConditionReport(findings=_measured(before)))
            if name == "treated":
                pair = _treated(case, rng)
                if pair is not None:
                    yield judged(pair), False, case
                continue
            told = planned(case, rng) if name == "planned" else about(case, rng)
            for number, dialogue in enumerate(told):
                yield dialogue, number > 0, case


def _measured(pixels: Any) -> tuple[Finding, ...]:
    from conservator.tools.instruments.measuring import measure

    return measure(pixels)


def _treated(case: Case, rng: random.Random) -> Pair | None:
    """A real treatment: half of them right; the others of the wrong kind, or by far too strong or too weak."""
    assert case.report is not None
    right = {f.kind: f.value for f in case.truth()}
    way = rng.random()
    asked = dict(right)
    if way < 0.25 or not right:
        kind = rng.choice([k for k in Kind if k not in right and k is not Kind.MASK])
        asked = {kind: value_at(kind, rng.uniform(0.4, 1))}
    elif way < 0.45:
        change = rng.choice((-0.35, 0.35))
        asked = {
            k: value_at(k, min(1, max(0.14, _severity(k, v) + change))) for k, v in right.items()
        }
    name = "llmra"
    if rng.random() < 0.35:
        able = [
            n
            for n, c in catalog.cards().items()
            if n.startswith("classical") and set(c.treats) & set(asked) and "scale" not in n
        ]
        name = rng.choice(able) if able else name
        asked = {k: v for k, v in asked.items() if k in catalog.card(name).treats}
    before = torch.from_numpy(case.pixels).permute(2, 0, 1)[None]
    try:
        restored = catalog.load(name, device="cpu").restore(
            before, RestorationPrompt(degradations=asked)
        )
    except ConservatorError:
        return None
    if restored.image.shape != before.shape:
        return None
    image = restored.image[0].permute(1, 2, 0).clamp(0, 1).contiguous()
    after = np.asarray((image * 255).round() / 255, np.float32)
    return Pair(
        case.pixels, after, case.clean, asked, case.present, case.report.findings, _measured(after)
    )


def _severity(kind: Kind, value: float) -> float:
    from conservator.restorers.degradations.vocabulary import severity_of

    return severity_of(kind, value)


def _write(path: Path, dialogues: Iterator[tuple[Dialogue, bool, Case | None]]) -> None:
    views: list[Tensor] = []
    rows: list[dict[str, Any]] = []
    for dialogue, repeats, case in dialogues:
        system, human = (message.content for message in dialogue.question.messages)
        parts = human if isinstance(human, list) else [{"type": "text", "text": human}]
        texts = [p["text"] for p in parts if isinstance(p, dict) and p.get("type") == "text"]
        if repeats:
            first, count = rows[-1]["first"], rows[-1]["count"]
        else:
            shown = [_view(p) for p in parts if isinstance(p, dict) and p["type"] == "image_url"]
            first, count = len(views), len(shown)
            views += shown
        rows.append(
            {
                "name": dialogue.question.name,
                "system": system,
                "text": "\n".join(texts),
                "tools": {
                    tool["function"]["name"]: list(tool["function"]["parameters"]["properties"])
                    for tool in dialogue.question.tools
                },
                "answer": dialogue.answer,
                "first": first,
                "count": count,
                "present": {} if case is None else dict(case.present),
                "inspected": case is not None
                and case.report is not None
                and "Readings" in texts[0],
            }
        )
    stack = torch.stack(views) if views else torch.zeros(0, 3, 1, 1, dtype=torch.uint8)
    save_part(path, {"views": stack}, {"conversations": json.dumps(rows)})


def _view(block: Mapping[str, Any]) -> Tensor:
    """A question's picture, decoded again: (3, h, w), uint8."""
    from PIL import Image

    data = base64.b64decode(block["image_url"]["url"].partition(",")[2])
    with Image.open(BytesIO(data)) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).contiguous()


def stored(folder: Path) -> list[Path]:
    """The parts that are there."""
    return sorted(folder.glob("*-*.safetensors"))


def read(folder: Path) -> tuple[Tensor, list[Conversation]]:
    """All parts: views (N, 3, S, S), uint8, and conversations that number them.

    Raises:
        UsageError: a part is damaged, or there is none.
    """
    views: list[Tensor] = []
    conversations: list[Conversation] = []
    start = 0
    for path in stored(folder):
        try:
            with safe_open(path, "pt") as file:
                rows = json.loads(file.metadata()["conversations"])
                part = file.get_tensor("views")
            for row in rows:
                row["first"] += start
                row["tools"] = {name: tuple(names) for name, names in row["tools"].items()}
                row["present"] = {Kind(name): value for name, value in row["present"].items()}
                conversations.append(Conversation(**row))
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise UsageError(
                f"{path} does not read ({error}); delete it to make it anew"
            ) from error
        if len(part):
            views.append(part)
            start += len(part)
    if not conversations:
        raise UsageError(f"no conversations in {folder}; gather some first")
    return torch.cat(views) if views else torch.zeros(0, 3, 1, 1, dtype=torch.uint8), conversations
