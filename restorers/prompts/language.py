"""One door to the prompt language: render a prompt to any restorer's style, parse any style or plain English."""

from __future__ import annotations

from typing import Protocol

from conservator.restorers.card import PromptStyle
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.errors import PromptError, UnknownNameError
from conservator.restorers.prompts import llmra, lm4lv, mofe, parameters, plain, spire
from conservator.restorers.prompts.lexicon import sentences
from conservator.restorers.prompts.model import RestorationPrompt

__all__ = ["STYLES", "parse", "render"]


class _Style(Protocol):
    def render(self, prompt: RestorationPrompt) -> str: ...

    def parse(self, text: str) -> RestorationPrompt: ...


_MODULES: dict[str, _Style] = {
    "llmra": llmra,
    "spire": spire,
    "mofe": mofe,
    "lm4lv": lm4lv,
    "parameters": parameters,
}
STYLES: tuple[str, ...] = tuple(_MODULES)
"""The styles by name, in the order in which an unknown text is tried."""


def _known(style: str) -> None:
    if style not in _MODULES:
        raise UnknownNameError("prompt style", style, STYLES)


def render(prompt: RestorationPrompt, style: PromptStyle | str) -> str:
    """Write a prompt in a restorer's own language; each module's docstring states its precision.

    Raises:
        UnknownNameError: no such style.
        PromptError: an impossible strength, or for `lm4lv` nothing that has a task.
    """
    _known(style)
    return _MODULES[style].render(prompt)


def parse(
    text: str, style: PromptStyle | str | None = None, *, required: bool = False
) -> RestorationPrompt:
    """Read a prompt.

    Args:
        text: in the given style; without one in any style, in plain English, or sentence by sentence in a mixture.
        style: how the text is to be read. What the style does not know is then read as plain English, except for
            `parameters`, which is exact.
        required: the caller needs something to do.

    Returns:
        The prompt; what no rule maps is in `unmapped`.

    Raises:
        UnknownNameError: no such style.
        PromptError: for `parameters` anything that does not parse; with `required` a text that asks for nothing.
    """
    if style is None:
        prompt = _detect(text)
    else:
        _known(style)
        prompt = _with_plain(_MODULES[style].parse(text))
    if required and not prompt.degradations and not prompt.blind:
        what = f"cannot read {', '.join(prompt.unmapped)!r}" if prompt.unmapped else "it is empty"
        raise PromptError(
            f"the prompt {text.strip()!r} asks for nothing: {what}; "
            'say for example "remove the noise", "noise:sigma=25" or "remove all degradation"'
        )
    return prompt


def _detect(text: str) -> RestorationPrompt:
    for style in STYLES:
        prompt = _exactly(text, style)
        if prompt is not None:
            return prompt
    merged = _Merger()
    for sentence in sentences(text):
        for style in ("llmra", "spire", "lm4lv", "parameters"):
            prompt = _exactly(sentence, style)
            if prompt is not None:
                merged.add(prompt)
                break
        else:
            merged.read(sentence)
    return merged.prompt()


def _exactly(text: str, style: str) -> RestorationPrompt | None:
    """The text in this style, None when anything of it is not."""
    try:
        prompt = _MODULES[style].parse(text)
    except PromptError:
        return None
    return None if prompt.unmapped else prompt


def _with_plain(prompt: RestorationPrompt) -> RestorationPrompt:
    merged = _Merger()
    merged.add(prompt)
    for piece in prompt.unmapped:
        merged.read(piece)
    return merged.prompt()


class _Merger:
    """Puts sentences together; the last word on a kind counts."""

    def __init__(self) -> None:
        self.strengths: dict[Kind, float] = {}
        self.blind = False
        self.semantic = ""
        self.unmapped: list[str] = []
        self.kept: list[str] = []

    def add(self, prompt: RestorationPrompt) -> None:
        self.strengths.update(prompt.degradations)
        self.blind |= prompt.blind

    def read(self, text: str) -> None:
        reading = plain.read(text)
        for kind in reading.denied:
            self.strengths.pop(kind, None)
        self.strengths.update(reading.strengths)
        self.blind |= reading.blind
        self.semantic = reading.semantic or self.semantic
        self.unmapped += reading.unmapped
        self.kept += reading.kept

    def prompt(self) -> RestorationPrompt:
        return RestorationPrompt(
            degradations=self.strengths,
            blind=self.blind,
            semantic=self.semantic,
            # "All except" cannot be said in a prompt, so a blind one reports its exceptions.
            unmapped=(*self.unmapped, *(self.kept if self.blind else ())),
        )
