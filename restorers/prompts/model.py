"""`RestorationPrompt`: what to undo and how strongly, independent of any restorer's language."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import BaseModel, ConfigDict, Field, field_validator

from conservator.restorers.degradations.vocabulary import (
    Finding,
    Kind,
    Level,
    level_of,
    value_of,
)

__all__ = ["RestorationPrompt"]


class RestorationPrompt(BaseModel):
    """A request to a restorer.

    Attributes:
        degradations: kind -> strength, in the kind's own unit (noise sigma of 255, jpeg quality, ...). A strength
            beyond the measured parameter asks for a stronger treatment, short of it for a weaker one. A kind that is
            not named must be left alone.
        blind: True asks to remove whatever is there; then `degradations` is usually empty.
        semantic: what the photo shows, "" when unknown ("a zebra").
        unmapped: pieces of free text that no rule could map; reported, never guessed.
    """

    model_config = ConfigDict(frozen=True)

    degradations: Mapping[Kind, float] = Field(default_factory=dict)
    blind: bool = False
    semantic: str = ""
    unmapped: tuple[str, ...] = ()

    @field_validator("degradations")
    @classmethod
    def _present_only(cls, value: Mapping[Kind, float]) -> dict[Kind, float]:
        return {kind: float(value[kind]) for kind in Kind if kind in value}

    @classmethod
    def from_findings(cls, findings: Iterable[Finding], semantic: str = "") -> RestorationPrompt:
        """Ask for exactly what was found, at the measured strength."""
        strengths = {f.kind: f.value for f in findings if f.level > Level.ABSENT}
        return cls(degradations=strengths, semantic=semantic)

    @classmethod
    def at_level(cls, **levels: Level | str) -> RestorationPrompt:
        """Build from levels: `RestorationPrompt.at_level(noise="high", jpeg=Level.LOW)`."""
        strengths = {}
        for name, level in levels.items():
            level = level if isinstance(level, Level) else Level.parse(level)
            strengths[Kind(name)] = value_of(Kind(name), level)
        return cls(degradations=strengths)

    def level(self, kind: Kind) -> Level:
        """The asked level of `kind`; absent when it is not named."""
        value = self.degradations.get(kind)
        return Level.ABSENT if value is None else level_of(kind, value)
