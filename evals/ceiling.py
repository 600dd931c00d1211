"""The ceiling: what perfect inspection and perfect choice make of the restorers there are. Led by the ground truth.

The best by PSNR to the clean picture of a small set of treatments, each told the true kinds and strengths. A call is a restorer told
one true kind, or, of those that read words, all true kinds that are left and that it treats. The treatments are:

- the climb: from the input on, always the call that gains most, until none gains or no kind is left;
- the true kinds one by one, in every order (of more than three kinds: in the policy's), each by the call that gains most at its
  turn, or by none.

So no strength but the true one is tried, no kind is treated twice, and no call that loses now is made for what it may gain later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

from conservator.evals.calling import called
from conservator.evals.fidelity import psnr, sized_as
from conservator.evals.sample import Answer, Image, Sample
from conservator.policies.ordering import in_treatment_order
from conservator.restorers import catalog
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.errors import PromptError
from conservator.restorers.prompts.model import RestorationPrompt

__all__ = ["ceiling"]

ALL_ORDERS = 3
"""Up to so many kinds every order is tried: six of three, twenty-four of four."""


def ceiling(restorers: Sequence[str], sample: Sample, seed: int) -> Answer:
    """The best of them for a sample; its steps are in the details.

    Raises:
        PromptError: nobody knows what is wrong with the sample, or how it should look.
        RestorerError: a call fails.
    """
    if sample.clean is None or sample.truth is None:
        raise PromptError(f"no ground truth for {sample.spec.picture}; a ceiling needs one")
    true = sample.truth.degradations
    tried = _Treatments(restorers, sample.clean, true, seed)
    start = _Path(sample.degraded, psnr(sized_as(sample.degraded, sample.clean), sample.clean))
    orders = permutations(true) if len(true) <= ALL_ORDERS else [in_treatment_order(true)]
    ends = [tried.climbed(start), *(tried.in_order(start, order) for order in orders)]
    best = max(ends, key=lambda path: path.score)
    return Answer(image=best.image, tools=len(best.steps), details={"steps": list(best.steps)})


@dataclass(frozen=True)
class _Path:
    """A picture, its PSNR in dB, and the calls that led to it."""

    image: Image
    score: float
    steps: tuple[str, ...] = ()


class _Treatments:
    """What can be made of one picture; each call is made once."""

    def __init__(
        self, restorers: Sequence[str], clean: Image, true: Mapping[Kind, float], seed: int
    ) -> None:
        # What a checkpoint of the user's treats is not known.
        self.cards = {name: card for name in restorers if (card := catalog.card(name)).treats}
        self.clean, self.true, self.seed = clean, true, seed
        self._made: dict[tuple[tuple[str, ...], frozenset[Kind]], tuple[_Path, set[Kind]]] = {}

    def climbed(self, path: _Path) -> _Path:
        left = set(self.true)
        while left:
            asked = [{kind} for kind in self.true if kind in left]
            asked += [left] if len(left) > 1 else []
            following, treated = max(
                (self._best(path, kinds) for kinds in asked), key=lambda made: made[0].score
            )
            if following.score <= path.score:
                break
            path, left = following, left - treated
        return path

    def in_order(self, path: _Path, order: Sequence[Kind]) -> _Path:
        for kind in order:
            following, _ = self._best(path, {kind})
            path = following if following.score > path.score else path
        return path

    def _best(self, path: _Path, kinds: set[Kind]) -> tuple[_Path, set[Kind]]:
        """The best of the calls on one kind, or on several at once, and what it treated; `path` itself where there is none."""
        key = (path.steps, frozenset(kinds))
        if key not in self._made:
            made: list[tuple[_Path, set[Kind]]] = [(path, set())]
            for name, card in self.cards.items():
                asked = {k: v for k, v in self.true.items() if k in kinds and k in card.treats}
                together = len(kinds) > 1
                if not asked or (
                    together and (len(asked) == 1 or card.prompt_style == "parameters")
                ):
                    continue
                image = called(name, path.image, RestorationPrompt(degradations=asked), self.seed)
                score = psnr(sized_as(image, self.clean), self.clean)
                said = ",".join(f"{kind.value}={value:.4g}" for kind, value in asked.items())
                made.append((_Path(image, score, (*path.steps, f"{name}({said})")), set(asked)))
            self._made[key] = max(made, key=lambda one: one[0].score)
        return self._made[key]
