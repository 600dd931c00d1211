"""LM4LV (arXiv 2405.15734): a frozen language model restores visual tokens; two linear adapters and task tokens are all that is trained.

    Human: <Img>{LQ tokens}</Img> {task tokens} Assistant: <Img>{HQ tokens}</Img>

Readings of what the slides leave open:

- The tags are text in the language model's own tokens; the text loss is on those of the answer, `<Img>` and `</Img>`.
- Visual and task tokens come out of their layers multiplied by the size of the model's word embeddings, so that they begin as large as words.
- Several tasks run one after the other on the tokens, without a picture in between.
- A single pass (Figure 5) hears the task before the picture and is read off the picture's own places, since nothing behind them is seen there.
- Without a language model (Figure 6, Table 3) a token hears its task as the mean of the task's tokens; the transformer as tokens before it.

Ours, in the compact size: at the place of each token of the answer the language model is given the degraded token once more, beside the
answer's token before it (`beside`). A model of Llama's size finds it in the picture by itself; with the paper's layout ours had not begun to
copy a token after 200 steps, even where that was all that it had to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conservator.restorers.errors import UnknownNameError, WeightsError
from conservator.restorers.lm4lv.config import ALL_TASKS, LM4LVConfig
from conservator.restorers.lm4lv.language import LanguageModel
from conservator.restorers.lm4lv.mae import MAE, Block
from conservator.restorers.prompts.lm4lv import SEQUENCE

__all__ = ["LM4LV", "Adapters", "Frame", "Reading", "task_numbers"]

_SINGLE_PASS = "Human: {task} <Img>"


def task_numbers(names: Sequence[str]) -> Tensor:
    """Places (B,) of task names among `ALL_TASKS`.

    Raises:
        UnknownNameError: no such task.
    """
    for name in names:
        if name not in ALL_TASKS:
            raise UnknownNameError("task of lm4lv", name, ALL_TASKS)
    return torch.tensor([ALL_TASKS.index(name) for name in names])


class Reading(nn.Module):
    """Linear layers from hidden states to visual tokens: one, or one for each task."""

    def __init__(self, width: int, tokens: int, tasks: int = 1) -> None:
        super().__init__()
        # As `nn.Linear` begins.
        bound = width**-0.5
        self.weight = nn.Parameter(torch.empty(tasks, tokens, width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(tasks, tokens))

    def forward(self, hidden: Tensor, numbers: Tensor) -> Tensor:
        """(B, n, D) by the tasks (B,) to (B, n, W)."""
        of = numbers if len(self.weight) > 1 else torch.zeros_like(numbers)
        return torch.baddbmm(self.bias[of][:, None], hidden, self.weight[of].transpose(1, 2))


class Adapters(nn.Module):
    """All that is trained: a linear layer in, one out (or one for each task), the task tokens, and what stands in for a language model in the experiments.

    Attributes:
        inward: a visual token, and the code of a place, to an embedding.
        outward: a hidden state to a visual token.
        tasks: (tasks, tokens, D), zero at the beginning.
    """

    size: Tensor

    def __init__(self, config: LM4LVConfig, size: float = 1.0) -> None:
        super().__init__()
        seen, width = config.mae.visual_width, config.llm_width
        self.inward = nn.Linear(seen, width)
        self.outward = Reading(width, seen, len(ALL_TASKS) if config.readings else 1)
        self.tasks = nn.Parameter(torch.zeros(len(ALL_TASKS), config.task_tokens, width))
        self.beside = nn.Linear(seen, width) if config.beside and config.generates else None
        self.stand_in = _stand_in(config)
        for layer in (self.inward, self.beside):
            if layer is not None:
                nn.init.normal_(layer.weight, std=seen**-0.5)
                nn.init.zeros_(layer.bias)
        self.register_buffer("size", torch.tensor(size))

    def told(self, numbers: Tensor) -> Tensor:
        """The tokens (B, tokens, D) of tasks (B,)."""
        return self.tasks[numbers] * self.size

    def embedded(self, tokens: Tensor) -> Tensor:
        """Visual tokens (B, n, W) to (B, n, D)."""
        embedded: Tensor = self.inward(tokens) * self.size
        return embedded

    def shown(self, degraded: Tensor) -> Tensor:
        """What is added where a token of the answer is to be made from these (B, n, W): (B, n, D), zero without `beside`."""
        if self.beside is None:
            return degraded.new_zeros(*degraded.shape[:2], self.inward.out_features)
        shown: Tensor = self.beside(degraded) * self.size
        return shown


def _stand_in(config: LM4LVConfig) -> nn.Module | None:
    width = config.llm_width
    if config.body == "mlp":
        return nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
    if config.body == "transformer":
        blocks = (Block(width, max(1, width // 64)) for _ in range(2))
        return nn.Sequential(*blocks, nn.LayerNorm(width))
    return None


@dataclass(frozen=True, eq=False)
class Frame:
    """The conversation's words as tokens (T,) each.

    Attributes:
        opening: before the degraded picture.
        asking: between picture and task.
        turn: between task and answer.
        tag: of the answer, before its picture.
        close: of the answer, behind it.
    """

    opening: Tensor
    asking: Tensor
    turn: Tensor
    tag: Tensor
    close: Tensor

    @classmethod
    def of(cls, language: LanguageModel) -> Frame:
        """The template in a model's own tokens."""
        opening, _, rest = SEQUENCE.partition("<LQ-image>")
        asking, _, rest = rest.partition("{task}")
        answer, _, close = rest.partition("<HQ-image>")
        turn, _, tag = answer.rpartition(" ")
        return cls(
            language.ids(opening, start=True),
            language.ids(asking),
            language.ids(turn),
            language.ids(f" {tag}"),
            language.ids(close),
        )


class LM4LV(nn.Module):
    """Vision module, adapters, and a language model that is no part of its parameters."""

    def __init__(self, config: LM4LVConfig, language: LanguageModel | None = None) -> None:
        """Build it.

        Raises:
            WeightsError: the language model is missing or has another width.
        """
        super().__init__()
        if config.speaks:
            width = 0 if language is None else language.width
            if language is None or width != config.llm_width:
                raise WeightsError(
                    f"the language model is {width} wide, this size of lm4lv takes {config.llm_width}; "
                    "give the one that it was trained with"
                )
        self.config = config
        self.language = language
        self.mae = MAE(config.mae)
        speaks = language is not None and config.speaks
        size = language.size * config.loudness if language and speaks else 1.0
        self.adapters = Adapters(config, size)

    @property
    def speaker(self) -> LanguageModel:
        """The language model."""
        assert self.language is not None
        return self.language

    @cached_property
    def frame(self) -> Frame:
        """The conversation in its tokens."""
        return Frame.of(self.speaker)

    def forward(self, degraded: Tensor, numbers: Tensor) -> Tensor:
        """Restore visual tokens (B, N, W) by the tasks (B,), in the way that the configuration says."""
        if not self.config.speaks:
            return self._stood_in(degraded, numbers)
        if self.config.generation == "single-pass":
            return self.single_pass(degraded, numbers)
        return self.generate(degraded, numbers)

    def asked(self, degraded: Tensor, numbers: Tensor) -> Tensor:
        """The conversation up to the answer's picture, (B, T, D)."""
        frame, adapters = self.frame, self.adapters
        asked = self._joined(
            degraded,
            frame.opening,
            adapters.embedded(degraded),
            frame.asking,
            adapters.told(numbers),
            torch.cat([frame.turn, frame.tag]),
        )
        last = asked[:, -1:] + adapters.shown(degraded[:, :1])
        return torch.cat([asked[:, :-1], last], dim=1)

    def teacher_forced(
        self, degraded: Tensor, numbers: Tensor, fed: Tensor
    ) -> tuple[Tensor, Tensor]:
        """All tokens of the answer at once, each told the ones before it.

        Args:
            degraded: visual tokens (B, N, W).
            numbers: tasks (B,).
            fed: the answer (B, N, W) as it is told: the true one, or one that the model itself gave.

        Returns:
            The answer (B, N, W), and the mean cross-entropy of its tags.
        """
        frame, n = self.frame, fed.shape[1]
        asked = self.asked(degraded, numbers)
        shown = F.pad(self.adapters.shown(degraded[:, 1:]), (0, 0, 0, 1))
        told = self._joined(fed, self.adapters.embedded(fed) + shown, frame.close[:-1])
        hidden = self.speaker.hidden(torch.cat([asked, told], dim=1))
        start = asked.shape[1] - 1
        answer = self.adapters.outward(hidden[:, start : start + n], numbers)
        tag, close = len(frame.tag), len(frame.close)
        words = torch.cat(
            [hidden[:, start - tag : start], hidden[:, start + n : start + n + close]], dim=1
        )
        wanted = torch.cat([frame.tag, frame.close]).to(fed.device).expand(len(fed), -1)
        text = F.cross_entropy(self.speaker.logits(words).flatten(0, 1), wanted.flatten())
        return answer, text

    @torch.no_grad()
    def generate(self, degraded: Tensor, numbers: Tensor) -> Tensor:
        """The answer (B, N, W) token by token, with a cache of keys and values."""
        memory = self.speaker.memory()
        hidden = self.speaker.hidden(self.asked(degraded, numbers), memory)[:, -1:]
        answer = [self.adapters.outward(hidden, numbers)]
        shown = self.adapters.shown(degraded)
        for place in range(1, degraded.shape[1]):
            told = self.adapters.embedded(answer[-1]) + shown[:, place : place + 1]
            answer.append(self.adapters.outward(self.speaker.hidden(told, memory), numbers))
        return torch.cat(answer, dim=1)

    def single_pass(self, degraded: Tensor, numbers: Tensor) -> Tensor:
        """The answer (B, N, W) read off the degraded tokens' own places."""
        opening, _, tag = _SINGLE_PASS.partition("{task}")
        language = self.speaker
        embedded = self._joined(
            degraded,
            language.ids(opening, start=True),
            self.adapters.told(numbers),
            language.ids(tag),
            self.adapters.embedded(degraded),
        )
        hidden = language.hidden(embedded)[:, -degraded.shape[1] :]
        return self.adapters.outward(hidden, numbers)

    def _stood_in(self, degraded: Tensor, numbers: Tensor) -> Tensor:
        embedded, told = self.adapters.embedded(degraded), self.adapters.told(numbers)
        body = self.adapters.stand_in
        if self.config.body == "transformer" and body is not None:
            hidden = body(torch.cat([told, embedded], dim=1))[:, told.shape[1] :]
        else:
            hidden = embedded + told.mean(dim=1, keepdim=True)
            hidden = hidden if body is None else body(hidden)
        return self.adapters.outward(hidden, numbers)

    def _joined(self, like: Tensor, *parts: Tensor) -> Tensor:
        """Words (T,) and embeddings (B, n, D) in a row: (B, all of them, D)."""
        rows = [
            part
            if part.is_floating_point()
            else self.speaker.embedded(part).expand(len(like), -1, -1)
            for part in parts
        ]
        return torch.cat([row.to(like.device) for row in rows], dim=1)
