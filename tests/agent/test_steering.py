"""A run under way hears words, rests and stops between two steps."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from conservator import Kind, RestorationResult, Steering, open_session, restore, resume, stream
from conservator.agent import events
from conservator.agent.execution import begin
from conservator.agent.options import Options
from conservator.policies.attempt import Attempt
from conservator.policies.preset import Preset
from conservator.restorers.degradations.vocabulary import Level, severity_of


def treats(attempt: Attempt) -> float:
    return attempt.call.prompt.degradations[Kind.NOISE]


def when(
    kind: type[events.Event], deed: Callable[[], object], *, attempt: str = ""
) -> Callable[[events.Event], None]:
    """A listener that does something at the first event of a kind."""
    done: list[events.Event] = []

    def heard(event: events.Event) -> None:
        if isinstance(event, kind) and not done and getattr(event, "attempt", "").endswith(attempt):
            done.append(event)
            deed()

    return heard


def test_nothing_said_changes_nothing(
    noisy: np.ndarray, quick: Preset, whole: RestorationResult
) -> None:
    result = restore(noisy, policy=quick, steering=Steering())
    np.testing.assert_array_equal(result.array, whole.array)
    assert (result.outcome, result.notes, result.said) == (whole.outcome, (), ())


def test_words_before_the_plan_change_the_calls_that_follow(
    noisy: np.ndarray, quick: Preset, whole: RestorationResult
) -> None:
    steer = Steering()
    steer.say("A bit less smoothing, please")
    seen = list(stream(noisy, policy=quick, steering=steer))
    names = [event.name for event in seen]
    assert names.index("Inspected") < names.index("Steered") < names.index("Planned")
    (steered,) = [event for event in seen if isinstance(event, events.Steered)]
    assert steered.understood and "less denoising: sigma 24" in steered.lines[0]
    last = seen[-1]
    assert isinstance(last, events.RunFinished)
    (attempt,) = last.result.attempts
    # "A bit" is half a step of 0.2 on the severity scale.
    before, after = (severity_of(Kind.NOISE, treats(a)) for a in (whole.attempts[0], attempt))
    assert before - after == pytest.approx(0.1, abs=0.01)
    assert attempt.call.decided_by == "user"
    assert "as you said: A bit less smoothing, please" in attempt.call.rationale
    assert steer.unheard == ()


def test_words_between_plan_and_call_change_the_planned_call(
    noisy: np.ndarray, quick: Preset
) -> None:
    steer = Steering()
    said = when(events.Planned, lambda: steer.say("noise sigma 18"))
    result = restore(noisy, policy=quick, steering=steer, on_event=said)
    assert [treats(a) for a in result.attempts] == [18]


def test_what_was_done_already_is_done_again(noisy: np.ndarray, quick: Preset) -> None:
    steer = Steering()
    said = when(events.Scored, lambda: steer.say("a bit more denoising"))
    result = restore(noisy, policy=quick, steering=steer, on_event=said)
    first, second = result.attempts
    assert treats(second) > treats(first)
    assert (second.call.source, second.call.replaces) == ("original", "a1")
    # It takes the other's place whatever it gains, because the user wants it so.
    assert second.accepted
    assert result.best == "a2"


def test_the_policy_does_not_ask_for_more_of_what_the_user_wants_less_of(
    noisy: np.ndarray, quick: Preset
) -> None:
    steer = Steering()
    said = when(events.Scored, lambda: steer.say("a bit less denoising"))
    absent = quick.model_copy(update={"target_level": Level.ABSENT})
    result = restore(noisy, policy=absent, steering=steer, on_event=said)
    assert treats(result.attempts[-1]) < treats(result.attempts[0])
    assert (result.outcome, len(result.attempts)) == ("met", 2)


def test_what_cannot_be_kept_leaves_the_first_result(noisy: np.ndarray, quick: Preset) -> None:
    steer = Steering()
    said = when(events.Scored, lambda: steer.say("much less denoising"))
    result = restore(noisy, policy=quick, steering=steer, on_event=said)
    assert [attempt.accepted for attempt in result.attempts] == [True, False]
    assert result.best == "a1"
    assert any("as you said, is not kept" in note for note in result.notes)


def test_what_is_to_be_kept_takes_a_treatment_back(noisy: np.ndarray, quick: Preset) -> None:
    steer = Steering()
    said = when(events.Scored, lambda: steer.say("keep the grain"))
    result = restore(noisy, policy=quick, steering=steer, on_event=said)
    assert (result.best, len(result.attempts)) == ("original", 1)
    assert result.reason == "noise left alone, as you said"


def test_the_last_word_counts(noisy: np.ndarray, quick: Preset) -> None:
    steer = Steering()
    steer.say("keep the grain")
    steer.say("remove the noise after all")
    result = restore(noisy, policy=quick, steering=steer)
    assert result.changed
    assert Kind.NOISE in result.steps[-1].treated
    assert [one.words for one in result.said] == ["keep the grain", "remove the noise after all"]


def test_a_target_yields_to_a_later_word(noisy: np.ndarray, quick: Preset) -> None:
    steer = Steering()
    steer.say("keep the grain")
    result = restore(noisy, policy=quick, targets="noise<=low", steering=steer)
    assert (result.spent.tools, result.blocking) == (0, ())


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("frobnicate the wug", "do not understand"),
        ("undo", "conservator chat"),
        ("less on the left half", "whole photo"),
        ("is this sharper?", "question"),
        ("much more denoising" * 40, "too long"),
        ("way stronger denoising", "far beyond"),
    ],
)
def test_what_is_not_understood_is_said_and_not_guessed(
    noisy: np.ndarray, quick: Preset, whole: RestorationResult, words: str, answer: str
) -> None:
    steer = Steering()
    heard: list[events.Event] = []

    def listen(event: events.Event) -> None:
        heard.append(event)
        again(event)

    again = when(
        events.Planned, lambda: [steer.say(words) for _ in range(3 if "way" in words else 1)]
    )
    result = restore(noisy, policy=quick, steering=steer, on_event=listen)
    steered = [event for event in heard if isinstance(event, events.Steered)][-1]
    assert not steered.understood
    assert any(answer in line for line in steered.lines)
    assert any(note.startswith(repr(words)) and answer in note for note in result.notes)
    if "way" not in words:
        np.testing.assert_array_equal(result.array, whole.array)


def test_words_after_the_last_step_are_reported(noisy: np.ndarray, quick: Preset) -> None:
    steer = Steering()
    planned: list[events.Event] = []

    def listen(event: events.Event) -> None:
        if isinstance(event, events.RunFinished):
            return
        if isinstance(event, events.Planned):
            planned.append(event)
        if len(planned) == 2 and isinstance(event, events.Planned):
            steer.say("a bit less denoising")

    # The second plan is empty; the words give the run another step.
    result = restore(noisy, policy=quick, steering=steer, on_event=listen)
    assert len(result.attempts) == 2
    late = Steering()
    stop = threading.Event()
    late.say("less denoising")
    stop.set()
    cancelled = restore(noisy, policy=quick, steering=late, cancel=stop)
    assert cancelled.outcome == "cancelled"
    assert any("too late" in note for note in cancelled.notes)


def test_a_kind_is_treated_as_well(
    noisy: np.ndarray, quick: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "table.yaml"
    best = {"noise": {"classical-nlm": 5.0}, "low_light": {"classical-gamma": 3.0}}
    levels = [level.label for level in list(Level)[1:]]
    gains = {kind: dict.fromkeys(levels, gain) for kind, gain in best.items()}
    table.write_text(yaml.safe_dump({"lead": "classical-nlm", "gains": gains}))
    monkeypatch.setenv("CONSERVATOR_PREFERENCES", str(table))
    steer = Steering()
    steer.say("it is too dark")
    seen = list(stream(noisy, policy=quick, steering=steer, max_tools=3))
    planned = [call for e in seen if isinstance(e, events.Planned) for call in e.calls]
    assert any(Kind.LOW_LIGHT in call.kinds for call in planned)
    last = seen[-1]
    assert isinstance(last, events.RunFinished)
    # The joint rule stands: what does not help is not kept, whoever asked for it.
    assert all(a.accepted for a in last.result.steps)


def test_no_room_for_a_wish_is_said(noisy: np.ndarray, quick: Preset) -> None:
    steer = Steering()
    said = when(events.Scored, lambda: steer.say("a bit less denoising"))
    result = restore(noisy, policy=quick, steering=steer, on_event=said, max_tools=1)
    assert len(result.attempts) == 1
    assert any("the limit of tools leaves no room" in note for note in result.notes)


def test_a_pause_takes_no_time_and_nothing_happens_in_it(
    noisy: np.ndarray, quick: Preset, whole: RestorationResult
) -> None:
    steer = Steering()
    now = 0.0
    heard: list[str] = []

    def let_on() -> None:
        nonlocal now
        now += 1000.0
        heard.append("let on")
        steer.go_on()

    def listen(event: events.Event) -> None:
        heard.append(event.name)
        if isinstance(event, events.Planned) and "Paused" not in heard:
            steer.say("wait")
            assert steer.paused
        if isinstance(event, events.Paused):
            threading.Timer(0.05, let_on).start()

    options = Options(policy=quick, max_seconds=30.0, steering=steer, clock=lambda: now)
    result = begin(noisy, options, on_event=listen, cancel=None)
    assert heard[heard.index("Paused") : heard.index("ToolStarted")] == [
        *("Paused", "let on", "Continued"),
    ]
    assert result.spent.seconds == 0
    np.testing.assert_array_equal(result.array, whole.array)


def test_words_of_a_pause_are_taken_up_at_its_end(noisy: np.ndarray, quick: Preset) -> None:
    steer = Steering()

    def speak() -> None:
        steer.say("noise sigma 18")
        steer.say("go on")

    def listen(event: events.Event) -> None:
        if isinstance(event, events.Planned) and event.calls:
            steer.pause()
        if isinstance(event, events.Paused):
            threading.Timer(0.02, speak).start()

    result = restore(noisy, policy=quick, steering=steer, on_event=listen)
    assert treats(result.attempts[0]) == 18


def test_a_paused_run_can_be_cancelled(noisy: np.ndarray, quick: Preset) -> None:
    steer, cancel = Steering(), threading.Event()
    steer.pause()
    result = restore(
        noisy,
        policy=quick,
        steering=steer,
        cancel=cancel,
        on_event=when(events.Paused, cancel.set),
    )
    assert result.outcome == "cancelled"


def test_a_stop_keeps_the_best_so_far_and_goes_on_later(
    noisy_png: Path, quick: Preset, whole: RestorationResult
) -> None:
    steer = Steering()
    stopped = restore(
        noisy_png, policy=quick, steering=steer, on_event=when(events.Planned, steer.stop)
    )
    assert stopped.outcome == "stopped"
    assert stopped.path is not None and stopped.run_dir is not None
    assert stopped.path.read_bytes() == noisy_png.read_bytes()
    heard: list[events.Event] = []
    result = resume(stopped.run_dir, on_event=heard.append)
    assert isinstance(heard[1], events.ToolStarted)
    np.testing.assert_array_equal(result.array, whole.array)


def test_a_stop_after_a_result_keeps_it(noisy: np.ndarray, quick: Preset) -> None:
    steer = Steering()
    steer_stop = when(events.Judged, lambda: steer.say("that is enough"))
    stopped = restore(noisy, policy=quick, steering=steer, on_event=steer_stop)
    assert (stopped.outcome, stopped.best) == ("stopped", "a1")
    assert stopped.reason == "stopped by you; kept a1"


def test_what_was_said_survives_a_kill(noisy_png: Path, quick: Preset) -> None:
    steer = Steering()
    steer.say("a bit less denoising")

    def killed(event: events.Event) -> None:
        if isinstance(event, events.ToolStarted):
            raise KeyboardInterrupt

    left = restore(noisy_png, policy=quick, steering=steer, on_event=killed)
    assert left.run_dir is not None
    result = resume(left.run_dir)
    assert result.attempts[0].call.decided_by == "user"
    assert [one.words for one in result.said] == ["a bit less denoising"]


def test_steering_and_approval_go_together(noisy: np.ndarray, quick: Preset) -> None:
    steer = Steering()
    steer.say("noise sigma 18")
    result = restore(
        noisy, policy=quick, steering=steer, approve="each", approver=lambda question: "yes"
    )
    assert [treats(a) for a in result.attempts] == [18]


def test_a_session_keeps_what_was_said_during_its_run(noisy_png: Path, quick: Preset) -> None:
    steer = Steering()
    steer.say("keep the grain")
    with open_session(noisy_png, policy=quick, vlm=None) as session:
        session.restore(steering=steer)
        turn = session.here
        assert turn is not None
        assert turn.wishes[0].changes == {Kind.NOISE: "off"}
        session.restore()
        assert session.here is not None and session.here.steps == ()
