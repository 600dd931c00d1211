"""Contracts from request to end: what is asked for, and how the run ends."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from conservator.agent import events
from conservator.agent.cli.restore import code_of
from conservator.agent.execution import begin
from conservator.agent.options import Options
from conservator.policies.preset import Preset
from conservator.restorers.degradations.vocabulary import Kind


class Watch:
    """A clock that only moves when something happens."""

    def __init__(self, moves: dict[type[events.Event], float]) -> None:
        self.now = 0.0
        self._moves = moves

    def __call__(self) -> float:
        return self.now

    def heard(self, event: events.Event) -> None:
        self.now += self._moves.get(type(event), 0.0)


@dataclass(frozen=True)
class Case:
    """A contract, and how it ends.

    Attributes:
        picture: its name.
        asked: arguments of a run.
        outcome: of the run.
        blocking: what the reason names, "" where nothing blocks.
        tools: calls of restorers.
        not_met: texts of the clauses that are not met.
        takes: event -> seconds that pass at it, on a clock of its own.
        code: exit code.
    """

    picture: str
    asked: dict[str, Any]
    outcome: str
    blocking: str = ""
    tools: int = 1
    not_met: tuple[str, ...] = ()
    takes: dict[type[events.Event], float] = field(default_factory=dict)
    code: int = 0


def limited(
    picture: str,
    why: str,
    *,
    targets: str = "noise<=low",
    tools: int = 0,
    not_met: tuple[str, ...] = ("noise<=low",),
    takes: dict[type[events.Event], float] | None = None,
    **limit: float,
) -> Case:
    """A contract that a limit ends, by default before the first call."""
    asked = {"targets": targets, **limit}
    return Case(picture, asked, "limit", why, tools, not_met, takes or {}, code=4)


CASES = {
    "a kind": Case("noisy", {"targets": "noise<=low"}, "met"),
    "a kind, and how far from the input": Case(
        "noisy",
        {"targets": "noise<=low, ssim_to_input>=0.5, psnr_to_input>=18, change<=30"},
        "met",
    ),
    "a bound that half of the treatment holds": Case(
        "noisy",
        {"targets": "noise<=medium,ssim_to_input>=0.75"},
        "met",
    ),
    "a bound that leaves too much noise": Case(
        "noisy",
        {"targets": "noise<=low,ssim_to_input>=0.75"},
        "not_met",
        "noise<=low: noise is medium",
        2,
        ("noise<=low",),
    ),
    "a bound that nothing holds": Case(
        "noisy",
        {"targets": "noise<=low,ssim_to_input>=0.99"},
        "not_met",
        "ssim_to_input>=0.99: ssim_to_input is 0.",
        1,
        ("noise<=low",),
    ),
    "only a bound": Case("noisy", {"targets": "change<=1"}, "unchanged", "change<=1: change is"),
    "a metric that falls": Case("noisy", {"targets": "piqe-=5"}, "met"),
    "metrics out of reach": Case(
        "noisy",
        {"targets": "noise<=low,piqe<=1,quality+=0.9"},
        "not_met",
        "piqe<=1: piqe is",
        1,
        ("piqe<=1", "quality+=0.9"),
    ),
    "met before it begins": Case("clean", {"targets": "noise<=low,piqe<=90"}, "unchanged", tools=0),
    "no detail comes back": Case(
        "enlarged",
        {"targets": "low_resolution<=absent"},
        "not_met",
        "low_resolution<=absent: low_resolution is",
        1,
        ("low_resolution<=absent",),
    ),
    "keep the grain": Case("noisy", {"keep": "the grain"}, "unchanged", "noise left alone", 0),
    "keep the grain from the undoing of blocks": Case(
        "noisy jpeg",
        {"keep": "the grain", "targets": "jpeg<=low"},
        "not_met",
        "keep the grain: noise fell",
        1,
        ("jpeg<=low",),
    ),
    "keep the bokeh": Case(
        "soft", {"keep": "the bokeh"}, "unchanged", "defocus_blur, motion_blur left alone", 0
    ),
    "keep it dark": Case("dark", {"keep": "it dark", "targets": "noise<=low"}, "met"),
    "keep the fog": Case("hazy", {"keep": "the fog"}, "unchanged", "haze left alone", 0),
    "keep the colours": Case("noisy", {"keep": "the colours", "targets": "noise<=low"}, "met"),
    "keep the colours in haze": Case(
        "hazy",
        {"keep": "the colours", "targets": "haze<=low"},
        "not_met",
        "keep the colours: they moved by",
        1,
        ("haze<=low",),
    ),
    "protect a box": Case("noisy", {"protect": "10,20,40,30", "targets": "noise<=low"}, "met"),
    "protect text": Case("sign", {"protect": "text", "targets": "noise<=low"}, "met"),
    "protect who is not there": Case(
        "noisy", {"protect": ["face"], "targets": "noise<=low"}, "met"
    ),
    "one call is enough": Case("noisy", {"targets": "noise<=low", "max_tools": 1}, "met"),
    "one call is too few": limited(
        "dark",
        "limit of 1 tools was reached; kept a1",
        targets="noise<=low,low_light<=low",
        tools=1,
        not_met=("low_light<=low",),
        max_tools=1,
    ),
    "no call": limited("noisy", "limit of 0 tools was reached; the input is kept", max_tools=0),
    "no second": limited(
        "noisy", "limit of 0 seconds was reached; the input is kept", max_seconds=0
    ),
    "two seconds, gone after the first call": limited(
        "dark",
        "limit of 2 seconds was reached; kept a1",
        targets="noise<=low,low_light<=low",
        tools=1,
        not_met=("low_light<=low",),
        takes={events.ToolFinished: 3.0},
        max_seconds=2,
    ),
    "two seconds, gone at the look": limited(
        "noisy", "the input is kept as it is", takes={events.Inspected: 3.0}, max_seconds=2
    ),
    "hardly a second": limited(
        "noisy", "the input is kept as it is", takes={events.RunStarted: 0.001}, max_seconds=1e-6
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_contracts(name: str, pictures: dict[str, np.ndarray], policy: Preset) -> None:
    case = CASES[name]
    watch = Watch(case.takes)
    options = Options(policy=policy, **case.asked)
    if case.takes:
        options = Options(policy=policy, clock=watch, **case.asked)
    result = begin(pictures[case.picture], options, on_event=watch.heard, cancel=None)
    assert (result.outcome, code_of(result)) == (case.outcome, case.code), result.reason
    assert case.blocking in result.reason
    assert result.spent.tools == case.tools
    assert tuple(clause.text for clause in result.contract if not clause.met) == case.not_met
    wanted = str(case.asked.get("targets", "")).replace(" ", "").split(",")
    asked = [clause.text for clause in result.contract if clause.about == "target"]
    assert asked == [text for text in wanted if text]
    assert all(clause.value is not None for clause in result.contract if clause.about == "target")
    kept = {kind for attempt in result.attempts for kind in attempt.call.kinds}
    assert not kept & {k for words in _kept(case) for k in words}


def _kept(case: Case) -> list[set[Kind]]:
    said = {
        "the grain": {Kind.NOISE},
        "the bokeh": {Kind.DEFOCUS_BLUR, Kind.MOTION_BLUR},
        "it dark": {Kind.LOW_LIGHT},
        "the fog": {Kind.HAZE},
    }
    return [kinds for words, kinds in said.items() if words == case.asked.get("keep")]
