"""How far "more" and "less" go: whole steps, then halves."""

import pytest

from conservator.policies.dose import next_dose
from conservator.policies.refinement import STEP


def test_the_first_step() -> None:
    assert next_dose([], "more") == STEP
    assert next_dose([], "less", amount=0.5) == -STEP / 2
    assert next_dose([STEP], "more") == STEP


def test_between_too_little_and_too_much() -> None:
    back = next_dose([STEP], "less")
    assert back == pytest.approx(-STEP / 2)
    assert next_dose([STEP, back], "more") == pytest.approx(STEP / 4)
    # A little nearer to where one is, much nearer to the other end.
    assert next_dose([STEP], "less", amount=0.5) == pytest.approx(-STEP / 3)
    assert next_dose([STEP], "less", amount=2) == pytest.approx(-2 * STEP / 3)


def test_the_last_word_counts() -> None:
    # Too much at 0.2, too little at 0, too little at 0.1, 0.15, 0.175, ...: in the end at 0.2 as well.
    doses = [STEP]
    doses.append(next_dose(doses, "less"))
    for _ in range(8):
        doses.append(next_dose(doses, "more"))
    assert sum(doses) > STEP
