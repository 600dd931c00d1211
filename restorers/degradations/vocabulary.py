"""The shared vocabulary: eleven kinds of degradation, one physical parameter each, five levels.

The severity ladder is BENCHMARK.md's. Each kind has five anchors, the parameter at *absent, low, medium, high, very
high*; between them severity runs linearly from 0 to 1 in steps of 0.25, and a level is the nearest anchor. So
noise of sigma 2-9.5 of 255 is *low*, 9.5-22.5 *medium*, 22.5-37.5 *high*, above that *very high*.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from conservator.restorers.errors import UnknownNameError

__all__ = [
    "PARAMETERS",
    "ConditionReport",
    "Finding",
    "Kind",
    "Level",
    "Parameter",
    "Source",
    "kind_named",
    "level_of",
    "severity_of",
    "value_at",
    "value_of",
]


class Kind(StrEnum):
    """What can be wrong with a photo."""

    NOISE = "noise"
    DEFOCUS_BLUR = "defocus_blur"
    MOTION_BLUR = "motion_blur"
    RAIN = "rain"
    HAZE = "haze"
    SNOW = "snow"
    LOW_LIGHT = "low_light"
    JPEG = "jpeg"
    LOW_RESOLUTION = "low_resolution"
    PEPPER_NOISE = "pepper_noise"
    MASK = "mask"


class Level(IntEnum):
    """How bad it is; the ladder of BENCHMARK.md."""

    ABSENT = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3
    VERY_HIGH = 4

    @property
    def label(self) -> str:
        """The level in words: `absent`, `low`, `medium`, `high`, `very high`."""
        return self.name.lower().replace("_", " ")

    @classmethod
    def parse(cls, text: str) -> Level:
        """Read `very high`, `very-high`, `VERY_HIGH`; `none` and `clean` mean absent.

        Raises:
            UnknownNameError: no such level.
        """
        name = "_".join(text.strip().upper().replace("-", " ").replace("_", " ").split())
        name = {"NONE": "ABSENT", "CLEAN": "ABSENT", "MODERATE": "MEDIUM"}.get(name, name)
        try:
            return cls[name]
        except KeyError:
            raise UnknownNameError("level", text, [level.label for level in cls]) from None


@dataclass(frozen=True)
class Parameter:
    """The one physical parameter of a kind.

    Attributes:
        name: as used in recipes, `noise:sigma=25`.
        unit: in words, for people.
        anchors: parameter at absent, low, medium, high, very high; monotonic, rising or falling.
        decimals: digits that carry meaning when the value is written out.
    """

    name: str
    unit: str
    anchors: tuple[float, float, float, float, float]
    decimals: int = 1

    @property
    def identity(self) -> float:
        """The value that means "nothing wrong"."""
        return self.anchors[0]

    @property
    def rising(self) -> bool:
        """Whether more of it is worse: of a noise's sigma, not of JPEG's quality."""
        return self.anchors[-1] > self.anchors[0]


PARAMETERS: dict[Kind, Parameter] = {
    Kind.NOISE: Parameter("sigma", "standard deviation, of 255", (0, 4, 15, 30, 45)),
    Kind.DEFOCUS_BLUR: Parameter("radius", "disk radius, px", (0, 2, 3, 4, 6)),
    Kind.MOTION_BLUR: Parameter("sigma", "Gaussian extent along the motion, px", (0, 2, 3, 5, 8)),
    Kind.RAIN: Parameter("value", "streak density, 0-100", (0, 5, 60, 75, 85), 0),
    Kind.HAZE: Parameter("beta", "scattering coefficient", (0, 0.4, 0.6, 1.2, 1.8), 2),
    Kind.SNOW: Parameter("coverage", "share of pixels under flakes", (0, 0.02, 0.05, 0.1, 0.2), 3),
    Kind.LOW_LIGHT: Parameter("stops", "darkening at mid-grey, EV", (0, 0.2, 0.45, 0.8, 1.2), 2),
    Kind.JPEG: Parameter("quality", "libjpeg quality", (100, 50, 30, 20, 10), 0),
    Kind.LOW_RESOLUTION: Parameter("factor", "downsampling factor", (1, 1.5, 2, 3, 4)),
    Kind.PEPPER_NOISE: Parameter(
        "fraction", "share of pixels lost", (0, 0.01, 0.03, 0.07, 0.15), 3
    ),
    Kind.MASK: Parameter("fraction", "share of pixels covered", (0, 0.02, 0.05, 0.1, 0.2), 3),
}


def kind_named(name: str) -> Kind:
    """Read a kind's name, tolerant of case, spaces and hyphens.

    Raises:
        UnknownNameError: no such kind.
    """
    key = "_".join(name.strip().lower().replace("-", " ").replace("_", " ").split())
    try:
        return Kind(key)
    except ValueError:
        raise UnknownNameError("degradation", name, [kind.value for kind in Kind]) from None


def severity_of(kind: Kind, value: float) -> float:
    """Map a physical parameter to severity in [0, 1]; 0.25 per level, clamped at both ends."""
    anchors = PARAMETERS[kind].anchors
    rising = PARAMETERS[kind].rising
    for i in range(4):
        a, b = anchors[i], anchors[i + 1]
        inside = value <= b if rising else value >= b
        if inside:
            return max(0.0, (i + (value - a) / (b - a)) / 4)
    return 1.0


def value_at(kind: Kind, severity: float) -> float:
    """Map severity in [0, 1] to the physical parameter; inverse of `severity_of` inside the ladder."""
    anchors = PARAMETERS[kind].anchors
    position = min(max(severity, 0.0), 1.0) * 4
    i = min(int(position), 3)
    return anchors[i] + (anchors[i + 1] - anchors[i]) * (position - i)


def level_of(kind: Kind, value: float) -> Level:
    """The level whose anchor is nearest on the severity scale; ties go up."""
    return Level(int(severity_of(kind, value) * 4 + 0.5))


def value_of(kind: Kind, level: Level) -> float:
    """The anchor of a level, in the kind's own unit."""
    return float(PARAMETERS[kind].anchors[level])


Source = Literal["vlm", "instrument", "metadata", "user"]


class Finding(BaseModel):
    """One line of a condition report.

    Attributes:
        value: the estimated parameter in the kind's own unit.
        confidence: probability in [0, 1] that the kind is present at about this level.
    """

    model_config = ConfigDict(frozen=True)

    kind: Kind
    value: float
    confidence: float = Field(ge=0, le=1)
    source: Source

    @property
    def level(self) -> Level:
        """The level on the ladder."""
        return level_of(self.kind, self.value)

    @property
    def severity(self) -> float:
        """Severity in [0, 1]."""
        return severity_of(self.kind, self.value)


class ConditionReport(BaseModel):
    """What an inspection found.

    Attributes:
        findings: one a kind, absent kinds included when they were measured; at most one per kind.
        scene: a short description of what the photo shows, "" when nobody looked.
        quality: overall quality in [0, 1], None when not estimated.
    """

    model_config = ConfigDict(frozen=True)

    findings: tuple[Finding, ...] = ()
    scene: str = ""
    quality: float | None = Field(default=None, ge=0, le=1)

    def finding(self, kind: Kind) -> Finding | None:
        """The finding about `kind`, None when it was not measured."""
        return next((f for f in self.findings if f.kind is kind), None)

    def present(self, at_least: Level = Level.LOW) -> tuple[Finding, ...]:
        """Findings at or above a level, worst first."""
        found = [f for f in self.findings if f.level >= at_least]
        return tuple(sorted(found, key=lambda f: (-f.severity, f.kind)))
