"""Learned experience: what a treatment may be expected to gain on a condition, from cases like it, and how sure that is.

Kernel regression over cases (`policies.cases`). Conditions are seldom the same twice, so a case counts as far as its condition is like the one at hand
and its treatment like the one in question. Photos differ more than treatments do: a case tells how much more or less than the other
treatments of its photo it gained (its advantage), and that is what is averaged; with few cases like it, it is drawn to 0, which leaves the
planner's order as it is. A gain that was only estimated counts for less, by its expected error.

    expected gain = what photos like it gained on the whole + advantage of the treatment, each a weighted mean

Hard bins with a back-off from the exact set of kinds to fewer (rank correlation with true advantages on photos left out 0.27), and a Gaussian process
with the table of single kinds as its prior (0.28), told no more than this does (0.29); the sum of that table's gains over the kinds of a
treatment made all of them worse. Who is tried follows the upper confidence bound of the expected gain (UCB), which needs no draw.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from math import hypot, log2, sqrt
from pathlib import Path
from statistics import fmean, pstdev
from typing import TYPE_CHECKING, Any, Final

from conservator.policies.cases import Case, CaseFile, Condition, Step
from conservator.restorers.degradations.vocabulary import Kind, severity_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

__all__ = [
    "SHIPPED",
    "Expected",
    "Experience",
    "Likeness",
    "Tally",
    "Treatment",
    "load_experience",
    "shortlist",
    "tallied",
]

SHIPPED = Path(__file__).with_name("experience.sqlite")

Treatment = tuple[Step, ...]
"""Steps that are taken one after the other."""

MOST: Final = 12.0
"""Gains beyond this many dB count as this many."""
_LARGE: Final = 320
"""Shorter sides from here on are alike, px; also of pictures whose size nobody knows."""
_TRACE: Final = 0.02
"""Severity of a kind that is named however weakly."""


@dataclass(frozen=True)
class Likeness:
    """How fast cases cease to tell about each other; chosen on photos left out.

    Attributes:
        condition: severity, weighted by confidence, by which conditions may differ and still be alike.
        size: the same for the picture's shorter side, in doublings.
        strength: the same for the severities that a treatment asks for.
        kinds: the same for how many kinds one treatment names and the other does not.
        reserve: cases like it that an advantage needs to count half.
        spread: dB by which advantages vary from photo to photo, before any case was seen.
        overconfidence: how many times its expected error the gain network is off.
    """

    condition: float = 0.45
    size: float = 1.0
    strength: float = 0.35
    kinds: float = 1.0
    reserve: float = 3.0
    spread: float = 1.5
    overconfidence: float = 1.6


@dataclass(frozen=True)
class Expected:
    """What is expected of a treatment of one photo.

    Attributes:
        gain: dB.
        doubt: standard error of `gain` beside that of its rivals on the same photo, dB.
        cases: how many cases like it there are.
    """

    gain: float
    doubt: float
    cases: float

    def __str__(self) -> str:
        """`+3.2 dB (14 cases)`."""
        return f"{self.gain:+.1f} dB ({self.cases:.0f} cases)"


def shortlist(
    expected: Sequence[Expected], *, whole: Sequence[bool], margin: float, doubt: float, count: int
) -> tuple[int, ...]:
    """Which of a step's rivals are worth a trial, the first choice first.

    Args:
        expected: of each rival, in the planner's order.
        whole: whether a rival leaves nothing to do. The others do not take the first place: the steps that would follow are planned
            anew on what was measured by then, and gain less than they promised.
        margin: dB by which another than the planner's first choice must be expected to gain more to take its place.
        doubt: a rival is left out whose expected gain stays below the first choice's even when it is raised by so many standard errors.
        count: as many at most.
    """
    best = max(
        (i for i in range(len(expected)) if i == 0 or whole[i]), key=lambda i: expected[i].gain
    )
    first = best if expected[best].gain > expected[0].gain + margin else 0
    head = expected[first]
    rivals = [
        i
        for i, one in enumerate(expected)
        if i != first and one.gain + doubt * hypot(one.doubt, head.doubt) >= head.gain
    ]
    rivals.sort(key=lambda i: -expected[i].gain)
    return (first, *rivals)[:count]


class Experience:
    """Cases, ready to be asked."""

    def __init__(self, cases: Iterable[Case], likeness: Likeness | None = None) -> None:
        """Sort cases by photo and by who treated it.

        Args:
            cases: any number; those that share a `Condition` object are of one photo.
            likeness: which cases tell about which.
        """
        import numpy as np

        self.likeness = likeness or Likeness()
        kept = list(cases)
        photos: dict[int, int] = {}
        conditions: list[Condition] = []
        for case in kept:
            if id(case.condition) not in photos:
                photos[id(case.condition)] = len(conditions)
                conditions.append(case.condition)
        self._places = np.array([self._place(c) for c in conditions]).reshape(-1, len(Kind) + 1)
        self._photo = np.array([photos[id(case.condition)] for case in kept], dtype=np.int64)
        self._gains = np.clip([case.gain for case in kept], -MOST, MOST)
        errors = self.likeness.overconfidence * np.array([case.error for case in kept])
        self._worth = 1 / (1 + (errors / self.likeness.spread) ** 2)
        self._asked = np.array([_asked(case.steps) for case in kept]).reshape(-1, len(Kind))
        self._crews: dict[object, list[int]] = {}
        for number, case in enumerate(kept):
            self._crews.setdefault(_crew(case.steps), []).append(number)
        self._sizes = self._summed(np.ones(len(kept)))
        self._sums = self._summed(self._gains)

    @property
    def cases(self) -> int:
        """How many."""
        return len(self._gains)

    def expected(
        self, condition: Condition, treatments: Sequence[Treatment]
    ) -> tuple[Expected, ...]:
        """What treatments may be expected to gain on a photo in this condition."""
        import numpy as np

        far = ((self._places - self._place(condition)) ** 2).sum(1)
        near = np.exp(-0.5 * far)
        means = self._sums / self._sizes
        overall = float(means.mean()) if len(means) else 0.0
        level = (float(near @ means) + overall) / (float(near.sum()) + 1)
        # What a photo's treatments gained on the whole; one treatment alone tells little of that.
        whole = (self._sums + level) / (self._sizes + 1)
        return tuple(self._one(steps, near, whole, level) for steps in treatments)

    def _one(self, steps: Treatment, near: Array, whole: Array, level: float) -> Expected:
        import numpy as np

        likeness = self.likeness
        rows = np.array(self._crews.get(_crew(steps), []), dtype=np.int64)
        asked, photo = self._asked[rows], self._photo[rows]
        wanted = np.array(_asked(steps))
        strength = ((asked - wanted) ** 2).sum(1) / likeness.strength**2
        kinds = ((asked > 0) != (wanted > 0)).sum(1) / likeness.kinds
        weight = near[photo] * np.exp(-0.5 * (strength + kinds)) * self._worth[rows]
        advantage = self._gains[rows] - whole[photo]
        count = float(weight.sum())
        mean = float(weight @ advantage) / (count + likeness.reserve)
        prior = 4 * likeness.spread**2
        variance = (prior + float(weight @ (advantage - mean) ** 2)) / (4 + count)
        return Expected(level + mean, sqrt(variance / (count + likeness.reserve)), count)

    def _place(self, condition: Condition) -> Array:
        """Where a condition lies, in units of what is still alike."""
        import numpy as np

        certain = {seen.kind: seen.severity * seen.confidence for seen in condition.seen}
        severities = [certain.get(kind, 0.0) / self.likeness.condition for kind in Kind]
        side = min(max(condition.side or _LARGE, 32), _LARGE)
        return np.array([*severities, log2(side) / self.likeness.size])

    def _summed(self, values: Array) -> Array:
        import numpy as np

        sums = np.bincount(self._photo, weights=values, minlength=len(self._places))
        return sums.astype(np.float64)


def _crew(steps: Treatment) -> tuple[tuple[str, bool], ...]:
    """Who works, one after the other, and whether they look for themselves."""
    return tuple((step.restorer, step.others) for step in steps)


def _asked(steps: Treatment) -> list[float]:
    """Severity asked for by kind, the largest of all steps; 0 where a kind is not named."""
    most = dict.fromkeys(Kind, 0.0)
    for step in steps:
        for kind, strength in step.strengths:
            asked = max(_TRACE, severity_of(kind, strength) * step.blend)
            most[kind] = max(most[kind], asked)
    return list(most.values())


def load_experience(files: Sequence[Path]) -> Experience:
    """The cases of some files together.

    Raises:
        MissingFileError: one is not there.
        UsageError: one is no experience file.
    """
    return _read(tuple((path, path.stat().st_mtime_ns if path.is_file() else 0) for path in files))


@cache
def _read(files: tuple[tuple[Path, int], ...]) -> Experience:
    return Experience(case for path, _ in files for case in CaseFile(path).cases())


@dataclass(frozen=True)
class Tally:
    """What came of a treatment where an inspection was sure of the same kinds.

    Attributes:
        kinds: that it was sure of, in the vocabulary's order.
        treatment: `llmra(noise, jpeg) + classical-gamma(low_light)`.
        gain: mean, dB.
        spread: standard deviation of the gains, dB.
        accepted: share that the joint rule let through; None where nobody judged.
    """

    kinds: tuple[Kind, ...]
    treatment: str
    cases: int
    gain: float
    spread: float
    accepted: float | None

    def as_dict(self) -> dict[str, Any]:
        """JSON data."""
        return {
            "kinds": [kind.value for kind in self.kinds],
            "treatment": self.treatment,
            "cases": self.cases,
            "gain": round(self.gain, 2),
            "spread": round(self.spread, 2),
            "accepted": None if self.accepted is None else round(self.accepted, 2),
        }


def tallied(cases: Iterable[Case]) -> tuple[Tally, ...]:
    """Cases by what the inspection was sure of, the commonest first, and by treatment, the best first; strengths aside."""
    groups: dict[tuple[tuple[Kind, ...], str], list[Case]] = {}
    for case in cases:
        treatment = " + ".join(step.words for step in case.steps)
        groups.setdefault((case.condition.sure, treatment), []).append(case)
    common: Counter[tuple[Kind, ...]] = Counter()
    for (kinds, _), some in groups.items():
        common[kinds] += len(some)
    found = [_tally(kinds, words, some) for (kinds, words), some in groups.items()]
    return tuple(sorted(found, key=lambda t: (-common[t.kinds], t.kinds, -t.gain)))


def _tally(kinds: tuple[Kind, ...], treatment: str, cases: Sequence[Case]) -> Tally:
    gains = [case.gain for case in cases]
    judged = [case.accepted for case in cases if case.accepted is not None]
    return Tally(
        kinds=kinds,
        treatment=treatment,
        cases=len(cases),
        gain=fmean(gains),
        spread=pstdev(gains),
        accepted=fmean(judged) if judged else None,
    )
