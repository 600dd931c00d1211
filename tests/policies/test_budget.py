"""Budgets, with a clock that the test turns."""

import pytest
from pydantic import ValidationError

from conservator.policies.budget import Budget, BudgetClock, Spent


class Hand:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_counts_earlier_sessions_and_not_the_pause_between() -> None:
    hand = Hand()
    clock = BudgetClock(Budget(max_seconds=10), seconds_before=6, clock=hand)
    assert clock.elapsed() == 6
    hand.now += 3
    assert clock.remaining_seconds() == 1
    assert clock.limit(Spent()) is None
    hand.now += 1
    assert clock.limit(Spent()) == "seconds"
    hand.now += 50
    assert clock.remaining_seconds() == 0


def test_waiting_for_a_person_takes_no_time() -> None:
    hand = Hand()
    clock = BudgetClock(Budget(max_seconds=10), clock=hand)
    hand.now += 4
    with pytest.raises(ValueError), clock.standing():
        hand.now += 100
        assert clock.elapsed() == 4
        raise ValueError
    hand.now += 1
    assert clock.elapsed() == 5


def test_tool_calls() -> None:
    clock = BudgetClock(Budget(max_tools=2), clock=Hand())
    assert clock.limit(Spent(tools=1)) is None
    assert clock.limit(Spent(tools=2)) == "tools"
    assert clock.remaining_tools(Spent(tools=5)) == 0


def test_no_limits() -> None:
    clock = BudgetClock(Budget(), clock=Hand())
    assert clock.limit(Spent(seconds=1e9, tools=10**6)) is None
    assert clock.remaining_seconds() == float("inf")


def test_negative_budgets_are_refused() -> None:
    with pytest.raises(ValidationError):
        Budget(max_seconds=-1)
