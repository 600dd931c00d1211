"""LM4LV's language: one task token for each restoration, "<denoise><derain>".

The paper (arXiv 2405.15734) trains ten embeddings for each task and puts them between the images: "Human:
<Img><LQ-image></Img> <task> Assistant: <Img><HQ-image></Img>". Five tasks restore; rotation and flipping are probes of
the frozen language model and no restoration, so they are not part of this language.

Precision of the round trip: the kind only. Tokens carry no strength, so each reads back at the *medium* anchor, and motion
blur, which shares `<deblur>`, reads back as defocus blur. Kinds without a task, `blind` and `semantic` are dropped.
"""

from __future__ import annotations

import re

from conservator.restorers.degradations.vocabulary import Kind, Level, value_of
from conservator.restorers.errors import PromptError
from conservator.restorers.prompts.lexicon import ascii_marks
from conservator.restorers.prompts.model import RestorationPrompt

__all__ = ["SEQUENCE", "TASKS", "parse", "render", "tasks"]

SEQUENCE = "Human: <Img><LQ-image></Img> {task} Assistant: <Img><HQ-image></Img>"
"""The conversation around the task tokens (Figure 2)."""

TASKS: dict[str, Kind] = {
    "denoise": Kind.NOISE,
    "deblur": Kind.DEFOCUS_BLUR,
    "derain": Kind.RAIN,
    "depepper": Kind.PEPPER_NOISE,
    "demask": Kind.MASK,
}
"""Task name -> the kind it undoes, in the paper's order."""

_TASK_OF = {**{kind: task for task, kind in TASKS.items()}, Kind.MOTION_BLUR: "deblur"}


def tasks(prompt: RestorationPrompt) -> tuple[str, ...]:
    """The names of the tasks that a prompt asks for, in the paper's order.

    Raises:
        PromptError: the prompt asks for something, but for nothing that has a task.
    """
    wanted = {_TASK_OF[kind] for kind in prompt.degradations if kind in _TASK_OF}
    if not wanted and (prompt.degradations or prompt.blind):
        asked = ", ".join(kind.value for kind in prompt.degradations) or "blind restoration"
        raise PromptError(f"lm4lv has no task for {asked}; ask for one of {', '.join(_TASK_OF)}")
    return tuple(task for task in TASKS if task in wanted)


def render(prompt: RestorationPrompt) -> str:
    """Write the task tokens; "" for a prompt that asks for nothing.

    Raises:
        PromptError: the prompt asks for something, but for nothing that has a task.
    """
    return "".join(f"<{task}>" for task in tasks(prompt))


_FRAME = re.compile(r"human\s*:|assistant\s*:|</?img>|<[lh]q-image>", re.IGNORECASE)
_TOKEN = re.compile(r"<\s*([a-z]+)\s*>", re.IGNORECASE)


def parse(text: str) -> RestorationPrompt:
    """Read task tokens, alone or inside `SEQUENCE`; anything else goes to `unmapped`."""
    body = _FRAME.sub(" ", ascii_marks(text))
    strengths: dict[Kind, float] = {}
    unmapped = []
    for match in _TOKEN.finditer(body):
        kind = TASKS.get(match[1].lower())
        if kind is None:
            unmapped.append(match[0])
        else:
            strengths[kind] = value_of(kind, Level.MEDIUM)
    unmapped += [rest.strip() for rest in _TOKEN.split(body)[::2] if re.search(r"\w", rest)]
    return RestorationPrompt(degradations=strengths, unmapped=tuple(unmapped))
