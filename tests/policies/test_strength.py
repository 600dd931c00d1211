"""Strengths move along the severity ladder, whichever way the kind's unit runs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conservator.policies.ordering import TREATMENT_ORDER, in_treatment_order
from conservator.policies.strength import moved, prompt_for, shifted
from conservator.restorers.degradations.vocabulary import (
    Finding,
    Kind,
    Level,
    severity_of,
    value_at,
    value_of,
)
from conservator.restorers.prompts.model import RestorationPrompt


@given(
    kind=st.sampled_from(list(Kind)),
    severity=st.floats(0.1, 1),
    step=st.floats(0.05, 0.5),
)
def test_stronger_is_never_weaker(kind: Kind, severity: float, step: float) -> None:
    value = value_at(kind, severity)
    assert severity_of(kind, moved(kind, value, step)) >= severity_of(kind, value) - 0.02
    assert severity_of(kind, moved(kind, value, -step)) <= severity_of(kind, value) + 0.02


def test_directions_in_units() -> None:
    assert moved(Kind.NOISE, 15, 0.15) > 15
    assert moved(Kind.JPEG, 30, 0.15) < 30
    assert moved(Kind.JPEG, 30, -0.15) > 30


def test_measured_values_are_kept_beyond_the_ladder() -> None:
    assert moved(Kind.NOISE, 60, 0) == 60
    assert moved(Kind.NOISE, 60, 0.2) == 60
    assert moved(Kind.NOISE, 60, -0.2) < 45


def test_weaker_never_asks_for_nothing() -> None:
    for kind in Kind:
        weakest = moved(kind, value_of(kind, Level.LOW), -1)
        assert severity_of(kind, weakest) > 0


def test_shift_moves_only_what_it_names() -> None:
    prompt = RestorationPrompt(degradations={Kind.NOISE: 15, Kind.JPEG: 30})
    stronger = shifted(prompt, {Kind.NOISE}, 0.2)
    assert stronger.degradations[Kind.NOISE] > 15
    assert stronger.degradations[Kind.JPEG] == 30


def test_prompt_names_what_was_found() -> None:
    found = (Finding(kind=Kind.NOISE, value=25.2, confidence=1, source="instrument"),)
    assert prompt_for(found).degradations == {Kind.NOISE: 25.2}
    assert prompt_for(found, bias=0.1, semantic="a cat").degradations[Kind.NOISE] > 25.2


def test_order_is_the_reverse_of_capture() -> None:
    assert set(TREATMENT_ORDER) == set(Kind)
    mixed = [Kind.LOW_RESOLUTION, Kind.LOW_LIGHT, Kind.RAIN, Kind.NOISE, Kind.JPEG]
    assert in_treatment_order(mixed) == tuple(reversed(mixed))


@pytest.mark.parametrize("kind", list(Kind))
def test_zero_step_is_identity(kind: Kind) -> None:
    value = value_of(kind, Level.MEDIUM)
    assert moved(kind, value, 0.0) == value
