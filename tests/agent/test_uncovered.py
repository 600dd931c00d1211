"""Rain behind haze: seen when the haze is gone, taken off, and counted as gained."""

from pathlib import Path

import pytest

from conservator import Kind, restore

ASTRONAUT = Path(__file__).parents[2] / "examples" / "astronaut.jpg"


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("uncovered")
    return restore(ASTRONAUT, output=folder / "out.png", run_dir=folder / "run")


def test_both_are_treated_in_two_steps(result) -> None:
    assert [step.call.kinds for step in result.steps] == [(Kind.HAZE,), (Kind.RAIN,)]
    assert result.before.finding(Kind.RAIN).confidence < 0.7
    assert result.after.finding(Kind.RAIN).level == 0
    assert result.after.finding(Kind.HAZE).level == 0


def test_the_second_step_is_judged_by_the_rain_that_the_first_one_uncovered(result) -> None:
    first, second = result.steps
    uncovered = first.measurement.finding(Kind.RAIN)
    assert uncovered.confidence > result.before.finding(Kind.RAIN).confidence + 0.1
    assert f"rain {uncovered.value:.3g}" in second.verdict.reason
    assert second.gain > first.gain
