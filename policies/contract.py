"""What a user asks a run to hold to: targets to reach, parts to protect, things to keep.

Targets that bound the distance to the input, and what is kept, bind every candidate: one that breaks them is refused, whatever it gains. The other
targets are what the run strives for. Protected parts come back as they came in.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from pydantic import BaseModel, ConfigDict

from conservator.policies.acceptance import Check, Measurement
from conservator.policies.intents import Intent, read_intent
from conservator.policies.places import read_place
from conservator.policies.preset import GuardLimits, Preset
from conservator.policies.targets import (
    Clause,
    KindTarget,
    Target,
    binding,
    check_targets,
    parse_targets,
    render_targets,
)
from conservator.restorers.degradations.vocabulary import Kind, Level
from conservator.restorers.errors import PromptError, UnknownNameError
from conservator.tools.regions import Region

__all__ = ["Contract", "Terms", "contract_of", "protected_places", "terms_of"]

FALL: Final = 0.125
"""Severity that a kept kind may lose: half a level, what an instrument errs by."""
_SURE: Final = 0.25
"""Confidence below which a kept kind was hardly there, and cannot be seen to fall."""


class Terms(BaseModel):
    """A contract as text, as a request keeps it; places are read once the photo's size is known.

    Attributes:
        targets: one list, "" without any.
        protect: one place an item.
        keep: one intent an item.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    targets: str = ""
    protect: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything was asked for."""
        return bool(self.targets or self.protect or self.keep)


class Contract(BaseModel):
    """What a run holds to, read.

    Attributes:
        targets: the user's; empty where the policy's defaults count.
        protect: parts that come back as they came in.
        keep: what may not fall.
    """

    model_config = ConfigDict(frozen=True)

    targets: tuple[Target, ...] = ()
    protect: tuple[Region, ...] = ()
    keep: tuple[Intent, ...] = ()

    @property
    def kept(self) -> frozenset[Kind]:
        """Kinds that are left alone."""
        return frozenset(kind for intent in self.keep for kind in intent.kinds)

    @property
    def needs_ssim(self) -> bool:
        """Whether a target bounds it, which takes time to measure."""
        return any(t.name == "ssim_to_input" for t in self.targets)

    def leaving(self, preset: Preset) -> Preset:
        """The preset with what is kept left alone."""
        if not self.kept:
            return preset
        leave = dict.fromkeys((*preset.leave, *sorted(self.kept)))
        return preset.model_copy(update={"leave": tuple(leave)})

    def checks(
        self, before: Measurement, after: Measurement, limits: GuardLimits
    ) -> tuple[Check, ...]:
        """What a candidate has to hold to, for the joint rule: `target` and `kept`.

        Args:
            before: the input.
            after: the candidate, compared with it.
            limits: the preset's guards, of which "the colours" takes the bare one.
        """
        guards = {} if after.guards is None else after.guards.as_numbers()
        bounds = binding(self.targets)
        held = check_targets(bounds, findings=(), scores={}, scores_before={}, guards=guards)
        found = [
            Check(
                name="target",
                passed=clause.met,
                value=float("nan") if clause.value is None else clause.value,
                limit=bound.value,
                says=str(clause),
            )
            for bound, clause in zip(bounds, held.clauses, strict=True)
        ]
        for intent in self.keep:
            found += _kept(intent, before, after, limits)
        return tuple(found)

    def kept_clauses(
        self, before: Measurement, after: Measurement | None, limits: GuardLimits
    ) -> tuple[Clause, ...]:
        """What came of the intents, `after` being the result; None for the input as it is."""
        clauses = []
        for intent in self.keep:
            checks = () if after is None else tuple(_kept(intent, before, after, limits))
            says = "; ".join(check.says.partition(": ")[2] for check in checks)
            if not checks:
                nothing = "not found in the photo, so there was nothing to lose"
                says = "as it came in" if after is None else nothing
            first = next(iter(checks), None)
            clauses.append(
                Clause(
                    about="keep",
                    text=f"keep {intent}",
                    met=all(check.passed for check in checks),
                    value=None if first is None else first.value,
                    says=says,
                )
            )
        return tuple(clauses)


def _kept(
    intent: Intent, before: Measurement, after: Measurement, limits: GuardLimits
) -> Iterable[Check]:
    for kind in intent.kinds:
        old, new = before.finding(kind), after.finding(kind)
        if old is None or new is None or old.level == Level.ABSENT or old.confidence < _SURE:
            continue
        fall = old.severity - new.severity
        name = kind.value.replace("_", " ")
        verb = "fell" if fall > FALL else "stays"
        change = f"from {old.level.label} ({old.value:.3g}) to {new.level.label} ({new.value:.3g})"
        yield Check(
            name="kept",
            kind=kind,
            passed=fall <= FALL,
            value=round(fall, 6),
            limit=FALL,
            says=f"keep {intent}: {name} {verb}, {change}",
        )
    if intent.colours and after.guards is not None:
        shift, limit = after.guards.colour, limits.colour
        yield Check(
            name="kept",
            passed=shift <= limit,
            value=shift,
            limit=limit,
            says=f"keep {intent}: they moved by {shift:.4g} (limit {limit:.4g})",
        )


def terms_of(
    preset: Preset,
    *,
    targets: str | Sequence[Target] | None = None,
    protect: str | Sequence[str] | None = None,
    keep: str | Sequence[str] | None = None,
    metrics: Collection[str],
) -> Terms:
    """A caller's wishes and the policy's as one contract; a target of the caller's takes the place of the policy's on the same thing.

    Args:
        preset: the policy.
        targets: the caller's, as text or read.
        protect: the caller's places, one or several.
        keep: the caller's intents, one or several.
        metrics: the no-reference metrics known here.

    Raises:
        PromptError: an item that does not parse, or two that contradict each other.
        UnknownNameError: a target on something that does not exist.
    """
    own: tuple[Target, ...] = ()
    if targets is not None:
        text = targets if isinstance(targets, str) else render_targets(targets)
        own = parse_targets(text, metrics=metrics)
    both = {t.name: t for t in (*_policys_targets(preset, metrics), *own)}
    kept = tuple(dict.fromkeys((*preset.keep, *_several(keep))))
    intents = _read_intents(kept)
    _check_agreement(tuple(both.values()), intents)
    return Terms(
        targets=render_targets(both.values()),
        protect=tuple(dict.fromkeys((*preset.protect, *_several(protect)))),
        keep=kept,
    )


def contract_of(terms: Terms, *, width: int, height: int, metrics: Collection[str]) -> Contract:
    """Terms for a photo of this size.

    Raises:
        PromptError: as `terms_of`; a place that is none, or leaves nothing to restore.
        UnknownNameError: as `terms_of`.
    """
    targets = parse_targets(terms.targets, metrics=metrics) if terms.targets else ()
    protect = protected_places(terms.protect, width=width, height=height)
    return Contract(targets=targets, protect=protect, keep=_read_intents(terms.keep))


def protected_places(given: Iterable[str], *, width: int, height: int) -> tuple[Region, ...]:
    """Places to protect in a photo of this size.

    Raises:
        PromptError: no place, or one that covers the whole photo.
    """
    places = tuple(read_place(text, width=width, height=height) for text in given)
    for place, text in zip(places, given, strict=True):
        whole = place.found is None and not place.outside and min(place.box[2:]) >= 1
        if whole:
            raise PromptError(f"place {text!r} is the whole photo; nothing would be restored")
    return places


def _several(given: str | Sequence[str] | None) -> tuple[str, ...]:
    if given is None:
        return ()
    return (given,) if isinstance(given, str) else tuple(given)


def _policys_targets(preset: Preset, metrics: Collection[str]) -> tuple[Target, ...]:
    if not preset.targets:
        return ()
    try:
        return parse_targets(",".join(preset.targets), metrics=metrics)
    except (PromptError, UnknownNameError) as error:
        raise PromptError(f"policy {preset.name!r}: {error}") from error


def _read_intents(given: Iterable[str]) -> tuple[Intent, ...]:
    return tuple(read_intent(text) for text in given)


def _check_agreement(targets: Sequence[Target], intents: Sequence[Intent]) -> None:
    """Refuse targets on what is kept.

    Raises:
        PromptError: names both, and what to leave out.
    """
    for target in targets:
        for intent in intents:
            if isinstance(target, KindTarget) and target.kind in intent.kinds:
                raise PromptError(
                    f"target {target} and keep {intent.words!r} contradict each other; leave one of them out"
                )
