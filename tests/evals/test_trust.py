"""The trust in a model is measured: a model that knows earns weight, one that guesses gets none."""

import pytest

from conservator.evals.sample import AnswerRecord
from conservator.evals.trust import measured_trust
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.errors import UsageError


def pair(
    sample: int, true: float | None, said: float, confidence: float, told: float | None
) -> list[AnswerRecord]:
    """Rain: the truth, what the instruments said and how surely, and what the model named."""
    findings = {"rain": {"true": true, "said": said, "confidence": confidence}}
    seen = (
        []
        if told is None
        else [
            {
                "kind": "rain",
                "level": {60: "medium", 85: "very high"}[int(told)],
                "value": told,
                "confidence": 0.9,
            }
        ]
    )
    own = AnswerRecord(sample_id=f"{sample}", system="instruments", row="r", findings=findings)
    joint = AnswerRecord(
        sample_id=f"{sample}",
        system="instruments+vlm:model=embedded",
        row="r",
        details={"answer": {"scene": "", "degradations": seen}},
    )
    return [own, joint]


def test_a_model_that_knows_is_trusted() -> None:
    # The instruments miss what the model sees, unsurely, and see surely what is there; both agree elsewhere.
    cases = [
        *(pair(i, 60, 0, 0.7, 60) for i in range(5)),
        *(pair(10 + i, None, 0, 0.7, None) for i in range(5)),
        *(pair(20 + i, 85, 60, 0.95, 85) for i in range(5)),
    ]
    rain = measured_trust(record for case in cases for record in case)[Kind.RAIN]
    assert rain.alone == pytest.approx(2 * 5 / (2 * 5 + 5))
    assert rain.joint == 1
    # ln(0.7 / 0.3) of denial against ln(0.9 / 0.1) times the weight.
    assert rain.weight == 0.5
    assert (rain.measured, rain.told, rain.both) == (0, 1, 5)


def test_a_model_that_guesses_is_not() -> None:
    cases = [
        *(pair(i, None, 0, 0.6, 60) for i in range(5)),
        *(pair(10 + i, 60, 60, 0.6, None) for i in range(5)),
    ]
    rain = measured_trust(record for case in cases for record in case)[Kind.RAIN]
    assert (rain.weight, rain.alone, rain.joint) == (0, 1, 1)


def test_a_run_without_both_is_refused() -> None:
    with pytest.raises(UsageError, match="both"):
        measured_trust([pair(1, 60, 60, 0.9, None)[0]])
