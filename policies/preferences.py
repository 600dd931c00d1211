"""Which restorer for which kind at which level: a table of measured gains, not an opinion in code.

`preferences.yaml` records, by kind and level, the mean PSNR gain in dB of each restorer over the untouched input. A gain
of 0 or less keeps a restorer from being called for that kind and level; a kind with none left is not treated. Gains of
restorers that nobody measured (those of third parties) are unknown, and they come last.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from conservator.restorers.card import RestorerCard
from conservator.restorers.degradations.vocabulary import Kind, Level
from conservator.restorers.errors import UnknownNameError, UsageError

__all__ = ["Preferences", "Ranked", "load_preferences"]

_SHIPPED = Path(__file__).with_name("preferences.yaml")


class Ranked(NamedTuple):
    """A restorer with its gain in dB; None when nobody measured it."""

    restorer: str
    gain: float | None


class Preferences(BaseModel):
    """The table.

    Attributes:
        lead: the restorer that takes composite prompts and is asked first.
        measured: how the numbers came about; kept in the run record.
        named_only: restorers that the planner does not call of itself: research paths, far slower than the others.
        trusted: restorer -> share of its measured gain in what is expected of it where the gain network does not see; see `policies.expectation`.
        gains: kind -> level -> restorer -> dB.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lead: str
    measured: str = ""
    named_only: tuple[str, ...] = ()
    trusted: Mapping[str, Annotated[float, Field(ge=0, le=1)]] = {}
    gains: Mapping[Kind, Mapping[Level, Mapping[str, float]]] = {}

    @field_validator("gains", mode="before")
    @classmethod
    def _by_level(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        return {
            kind: {Level.parse(k) if isinstance(k, str) else k: v for k, v in levels.items()}
            for kind, levels in value.items()
        }

    def gain(self, restorer: str, kind: Kind, level: Level) -> float | None:
        """The measured gain in dB, None when nobody measured it."""
        return self.gains.get(kind, {}).get(level, {}).get(restorer)

    def ranked(
        self, kind: Kind, level: Level, cards: Mapping[str, RestorerCard], *, margin: float = 0.0
    ) -> tuple[Ranked, ...]:
        """Restorers that treat `kind`, keep the size of the picture and have their weights, best first.

        Nobody who wants a photo repaired asked for a larger one, so upscalers are called by name only, and so is who is `named_only`. The lead goes before any restorer whose gain does not exceed its own by more than `margin`; a lead nobody
        measured goes first.
        """
        options = [
            Ranked(name, self.gain(name, kind, level))
            for name, card in cards.items()
            if kind in card.treats and card.scale == 1 and card.ready()
            if name not in self.named_only
        ]
        useful = [o for o in options if o.gain is None or o.gain > 0]

        def merit(option: Ranked) -> float:
            if option.restorer == self.lead:
                return float("inf") if option.gain is None else option.gain + margin
            return float("-inf") if option.gain is None else option.gain

        return tuple(sorted(useful, key=lambda o: -merit(o)))


def load_preferences(path: Path | None = None) -> Preferences:
    """The shipped table, or another one.

    Raises:
        UsageError: the file does not describe such a table.
    """
    return _read(path or _SHIPPED)


@cache
def _read(path: Path) -> Preferences:
    try:
        return Preferences.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (
        OSError,
        UnicodeDecodeError,
        yaml.YAMLError,
        ValidationError,
        UnknownNameError,
    ) as error:
        first = str(error).splitlines()[0]
        raise UsageError(f"preferences file {str(path)!r} does not read: {first}") from error
