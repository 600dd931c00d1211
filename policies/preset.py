"""Presets: every threshold of the decisions in one YAML file a preset, so that tuning never touches code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from conservator.policies.budget import Budget
from conservator.restorers.degradations.vocabulary import Finding, Kind, Level
from conservator.restorers.errors import MissingFileError, UnknownNameError, UsageError

__all__ = [
    "GainWeights",
    "GuardLimits",
    "Preset",
    "VlmRules",
    "Vote",
    "load_preset",
    "preset_names",
]

_FOLDER = Path(__file__).with_name("presets")


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Vote(_Data):
    """One metric's voice.

    Attributes:
        weight: how much its vote counts.
        margin: change in the metric's own unit below which it abstains.
    """

    weight: float = Field(default=1.0, gt=0)
    margin: float = Field(default=0.0, ge=0)


class GuardLimits(_Data):
    """How far a treatment may move a photo; see `conservator.tools.compare.Guards` for the quantities.

    The limits hold for a treatment that asks for nothing; what it asks for widens them, in proportion to the severity
    asked for. The shipped allowances let the clean original of a degraded photo pass in 95 % of cases: a perfect
    restoration must not be refused, and little beyond it should be let through.

    Attributes:
        structure: least structural agreement, [0, 1].
        colour: largest mean shift of chromaticity, [0, 1].
        lowpass: largest mean shift of the low-pass picture, [0, 1].
        residual: largest RMS change, of 255.
        allowances: kind -> guard -> what treating the kind at full severity adds to its limit (takes off, for
            `structure`). Those of several kinds add up; for `residual` their squares do.
        tolerated: treated kind -> other kind -> levels by which it may rise (brightening uncovers noise).
    """

    structure: float = Field(ge=0, le=1)
    colour: float = Field(ge=0, le=1)
    lowpass: float = Field(ge=0, le=1)
    residual: float = Field(ge=0, le=255)
    allowances: Mapping[Kind, Mapping[str, float]] = {}
    tolerated: Mapping[Kind, Mapping[Kind, int]] = {}

    @field_validator("allowances")
    @classmethod
    def _known_guards(
        cls, value: Mapping[Kind, Mapping[str, float]]
    ) -> Mapping[Kind, Mapping[str, float]]:
        known = ("structure", "colour", "lowpass", "residual")
        for kind, limits in value.items():
            for name in limits:
                if name not in known:
                    raise ValueError(f"allowances.{kind.value} names {name!r}; guards: {known}")
        return value


class GainWeights(_Data):
    """What makes one accepted treatment better than another; the gain is the weighted sum.

    With an estimate it is about decibels; pictures too small for one are compared by the rest alone.

    Attributes:
        severity: per unit of severity taken off the treated kinds, weighted by the finding's confidence.
        votes: for the balance of the metric votes, [-1, 1].
        estimate: per dB of the gain that the gain network estimates.
        prior: per dB of the gains measured for its restorers on these kinds and levels (preferences.yaml).
        change: taken off per unit of low-pass change, so that of two equal results the closer one wins.
    """

    severity: float = 1.0
    votes: float = 0.25
    estimate: float = 0.0
    prior: float = 0.0
    change: float = 0.0


class VlmRules(_Data):
    """What a vision-language model may take, and where its opinion counts.

    Attributes:
        seconds: that a question may take.
        share: of the run's remaining seconds that a question may take, so that a slow model leaves time to restore.
        max_calls: questions in a run, repaired ones counted twice.
        max_tokens: tokens in a run, both directions, as far as the model reports them.
        beside: where a model's plan differs from the policy's, the policy's own candidates are tried as well, its first choice first.
        veto: whether its opinion may refuse a candidate; without, it is recorded only.
        doubt: a veto counts while the estimated gain is below this many times its expected error.
        tie: gain (see `GainWeights`) below which "no difference" is a veto; see `conservator.policies.opinion`.
    """

    seconds: float = Field(default=60.0, gt=0)
    share: float = Field(default=0.3, gt=0, le=1)
    max_calls: int = Field(default=40, ge=0)
    max_tokens: int = Field(default=200_000, ge=0)
    beside: bool = True
    veto: bool = True
    doubt: float = Field(default=2.0, ge=0)
    tie: float = Field(default=0.1, ge=0)


class Preset(_Data):
    """A way of deciding, from cautious to bold.

    Attributes:
        name: as used on the command line.
        title: one line for people.
        minimal_confidence: findings below it are left alone.
        confidence: overrides of `minimal_confidence` by kind.
        hint_confidence: a candidate may treat findings from here on beside the certain ones; see `policies.planner`.
        asked_confidence: the same for kinds that a target of the user's names.
        minimal_level: findings below it are left alone.
        level: overrides of `minimal_level` by kind.
        alone: confidence needed, at a high level at least, where a kind is all that was found: a photo that is dark, or soft, and nothing else
            may be so by intent.
        company: confidence from which another finding, at a medium level at least, says that it is not all, certain or not.
        leave: kinds that are only treated when a target names them.
        target_level: without targets of the user's, each treated kind shall fall to this level.
        max_attempts: candidates judged in a run at most, blends included, failed tools not.
        candidates: rivals for one step; they are tried on a piece of the photo, and the most promising one is made.
        rival_margin: dB by which a rival must be expected to gain more than the first choice and the lead.
        trial_steps: on the severity scale from the strengths of the most promising rival, at which it is tried on the piece as well.
        experience: which learned experience orders the rivals: `none`, `auto` (the shipped one and the user's own), or a file.
        experience_margin: dB by which it must expect more of another than of the planner's first choice to put it first.
        experience_doubt: standard errors by which a rival's expected gain is raised before it is found too low for a trial.
        max_redos: times a good but incomplete treatment is redone from the original.
        strength_bias: added to the measured severity in first prompts.
        strength_step: severity by which a retry treats stronger or weaker.
        blends: shares of the treated picture tried, in order, when a candidate was judged too strong.
        blend_searches: golden-section steps from a blend that was accepted towards the one that was too strong: up to the user's taste, which
            archival stays under.
        minimal_drop: severity that the treated kinds must lose, on average, weighted by confidence.
        minimal_rise: severity by which another kind must rise before a rise by a level counts.
        minimal_votes: balance of the metric votes in [-1, 1] below which a candidate is refused.
        minimal_estimate: gain in dB, as the gain network estimates it, below which a candidate is refused.
        brightening_estimate: times its expected error that the estimated gain must reach where low light was treated.
        sure_estimate: times its expected error that the estimated gain must reach to overrule instruments and votes.
        minimal_gain: gain over the best so far that a candidate needs to replace it.
        specialist_margin: dB by which a specialist's measured gain must exceed the lead's to be called instead.
        composite_margin: the same where several kinds are to be undone, which the lead does in one call.
        votes: no-reference metrics that vote, where they can run.
        guards: limits to how far a photo may move.
        weights: what makes up the gain.
        vlm: limits and rules for a vision-language model, where there is one.
        max_seconds: budget unless the caller gives one.
        max_tools: budget unless the caller gives one.
        configuration: size of the learned restorers.
        targets: what a run under this policy shall reach, as in `noise<=low,ssim_to_input>=0.8`; a caller's are added to them.
        protect: places that come back as they came in, as in `face` or `10%,20%,30%,30%`.
        keep: what is wanted as it is, as in `the grain`.
    """

    name: str
    title: str
    minimal_confidence: float = Field(ge=0, le=1)
    confidence: Mapping[Kind, float] = {}
    hint_confidence: float = Field(default=0.3, ge=0, le=1)
    asked_confidence: float = Field(default=0.25, ge=0, le=1)
    minimal_level: Level = Level.LOW
    level: Mapping[Kind, Level] = {}
    alone: Mapping[Kind, float] = {}
    company: float = Field(default=1.0, ge=0, le=1)
    leave: tuple[Kind, ...] = (Kind.LOW_RESOLUTION,)
    target_level: Level = Level.LOW
    max_attempts: int = Field(ge=0)
    candidates: int = Field(default=1, ge=1)
    rival_margin: float = Field(default=1.0, ge=0)
    trial_steps: tuple[float, ...] = ()
    experience: str = "none"
    experience_margin: float = Field(default=0.3, ge=0)
    experience_doubt: float = Field(default=1.0, ge=0)
    max_redos: int = Field(default=1, ge=0)
    strength_bias: float = Field(default=0.0, ge=-1, le=1)
    strength_step: float = Field(default=0.15, gt=0, le=1)
    blends: tuple[float, ...] = (0.5,)
    blend_searches: int = Field(default=0, ge=0)
    minimal_drop: float = Field(ge=0, le=1)
    minimal_rise: float = Field(default=0.1, ge=0, le=1)
    minimal_votes: float = Field(default=0.0, ge=-1, le=1)
    minimal_estimate: float = 0.0
    brightening_estimate: float = Field(default=1.8, ge=0)
    sure_estimate: float = Field(default=1.5, ge=0)
    minimal_gain: float = 0.0
    specialist_margin: float = Field(default=0.3, ge=0)
    composite_margin: float = Field(default=4.0, ge=0)
    votes: Mapping[str, Vote]
    guards: GuardLimits
    weights: GainWeights = GainWeights()
    vlm: VlmRules = VlmRules()
    max_seconds: float | None = None
    max_tools: int | None = None
    configuration: str = "compact"
    targets: tuple[str, ...] = ()
    protect: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()

    @field_validator("targets", "protect", "keep", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("minimal_level", "target_level", mode="before")
    @classmethod
    def _level(cls, value: object) -> object:
        return Level.parse(value) if isinstance(value, str) else value

    @field_validator("level", mode="before")
    @classmethod
    def _levels(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        return {k: Level.parse(v) if isinstance(v, str) else v for k, v in value.items()}

    @field_validator("blends")
    @classmethod
    def _shares(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0 < share < 1 for share in value):
            raise ValueError(f"blends are shares between 0 and 1, got {value}")
        return value

    @property
    def budget(self) -> Budget:
        """The limits of a run unless the caller gives others."""
        return Budget(max_seconds=self.max_seconds, max_tools=self.max_tools)

    def confidence_needed(self, kind: Kind) -> float:
        """Confidence from which a finding of `kind` is acted on."""
        return self.confidence.get(kind, self.minimal_confidence)

    def level_needed(self, kind: Kind) -> Level:
        """Level from which a finding of `kind` is acted on; at least low."""
        return max(Level.LOW, self.level.get(kind, self.minimal_level))

    def acts_on(self, finding: Finding) -> bool:
        """Whether a finding is certain and bad enough to treat unasked."""
        return (
            finding.kind not in self.leave
            and finding.level >= self.level_needed(finding.kind)
            and finding.confidence >= self.confidence_needed(finding.kind)
        )

    def treats(self, findings: Iterable[Finding]) -> tuple[Finding, ...]:
        """The findings to treat unasked."""
        every = tuple(findings)
        certain = tuple(finding for finding in every if self.acts_on(finding))
        if len(certain) != 1 or self._in_company(certain[0], every):
            return certain
        (only,) = certain
        needed = self.alone.get(only.kind)
        meant = needed is not None and (only.level < Level.HIGH or only.confidence < needed)
        return () if meant else certain

    def _in_company(self, one: Finding, every: Iterable[Finding]) -> bool:
        return one.level >= Level.HIGH and any(
            other.kind not in (one.kind, *self.leave)
            and other.level >= Level.MEDIUM
            and other.confidence >= self.company
            for other in every
        )


def preset_names() -> tuple[str, ...]:
    """The shipped presets."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


def load_preset(policy: str | Path | Preset) -> Preset:
    """A shipped preset by name, or one of the user's by the path of a YAML file.

    Raises:
        UnknownNameError: no shipped preset has this name, and it is no path to a YAML file.
        MissingFileError: a path to a YAML file that is not there.
        UsageError: the file does not describe a preset.
    """
    if isinstance(policy, Preset):
        return policy
    path = Path(policy)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise MissingFileError(f"no policy file {str(path)!r}; give a preset's name or a file")
        return _read(path)
    name = str(policy)
    if name not in preset_names():
        raise UnknownNameError("policy", name, preset_names())
    return _shipped(name)


@cache
def _shipped(name: str) -> Preset:
    return _read(_FOLDER / f"{name}.yaml")


def _read(path: Path) -> Preset:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        first = str(error).splitlines()[0]
        raise UsageError(f"policy file {str(path)!r} does not read as YAML: {first}") from error
    if isinstance(data, dict) and "based_on" in data:
        data = _over(path, dict(data))
    try:
        return Preset.model_validate(data)
    except (ValidationError, UnknownNameError) as error:
        if isinstance(error, ValidationError):
            detail = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in detail["loc"])
            raise UsageError(f"policy file {str(path)!r}: {where}: {detail['msg']}") from error
        raise UsageError(f"policy file {str(path)!r}: {error}") from error


def _over(path: Path, data: dict[str, Any]) -> dict[str, Any]:
    """A file's fields over those of the shipped policy that it is based on; its name is the file's unless it has one.

    Raises:
        UnknownNameError: no shipped policy has this name.
    """
    base = data.pop("based_on")
    if base not in preset_names():
        raise UnknownNameError("policy in based_on", str(base), preset_names())
    own = {"name": path.stem, "title": f"{base}, changed by {path.name}"}
    return {**_shipped(str(base)).model_dump(mode="json"), **own, **data}
