"""The Pareto front of removal and fidelity, on hand-made candidates."""

from conservator.policies.acceptance import Measurement, Verdict
from conservator.policies.attempt import ORIGINAL, Attempt, ToolCall
from conservator.policies.front import pareto_front
from conservator.restorers.degradations.vocabulary import Finding, Kind
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.tools.compare import Guards


def noise(sigma: float) -> Finding:
    return Finding(kind=Kind.NOISE, value=sigma, confidence=0.8, source="instrument")


def candidate(name: str, sigma: float, structure: float, *, accepted: bool = True) -> Attempt:
    guards = Guards(structure=structure, colour=0.0, lowpass=0.0, residual=1.0)
    prompt = RestorationPrompt(degradations={Kind.NOISE: 25})
    return Attempt(
        id=name,
        call=ToolCall(restorer="llmra", prompt=prompt, source=ORIGINAL),
        status="judged",
        measurement=Measurement(findings=(noise(sigma),), guards=guards),
        verdict=Verdict(accepted=accepted, checks=(), gain=0.1),
    )


def test_nobody_on_the_front_is_beaten_in_both() -> None:
    made = [
        candidate("strong", 2, 0.80),
        candidate("beaten", 8, 0.79),
        candidate("mild", 12, 0.95),
        candidate("worse", 30, 0.99),
        candidate("refused", 0, 0.99, accepted=False),
    ]
    front = pareto_front([noise(25)], made)
    assert [one.node for one in front] == [ORIGINAL, "mild", "strong"]
    assert front[0].removal == 0 < front[1].removal < front[2].removal
    assert pareto_front([noise(25)], reversed(made)) == front


def test_equals_stand_beside_each_other_and_nothing_made_leaves_the_input() -> None:
    twins = [candidate("a1", 5, 0.9), candidate("a2", 5, 0.9)]
    assert [one.node for one in pareto_front([noise(25)], twins)] == [ORIGINAL, "a1", "a2"]
    assert [one.node for one in pareto_front([noise(25)], [])] == [ORIGINAL]
