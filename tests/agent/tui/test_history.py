"""Rows of a session, and what is said of events."""

from conservator import Finding, Kind, RestorationPrompt, open_session
from conservator.agent import events
from conservator.agent.steering import Steering
from conservator.agent.tui.history import History
from conservator.agent.tui.words import call_words, duration, lines_of, stage_of, told, weight
from conservator.policies.acceptance import Measurement, Verdict
from conservator.policies.attempt import ToolCall
from conservator.tools.gain import Gain

CALL = ToolCall(
    restorer="llmra", prompt=RestorationPrompt(degradations={Kind.NOISE: 20, Kind.JPEG: 35})
)
GOOD = Verdict(accepted=True, checks=(), gain=1.0, reason="noise 20 -> 2")
BAD = Verdict(accepted=False, checks=(), gain=-1.0, reason="structure 0.5 (limit >= 0.9)")


def measured(quality: float, noise: float = 20.0) -> Measurement:
    finding = Finding(kind=Kind.NOISE, value=noise, confidence=1.0, source="instrument")
    gain = Gain(psnr=2.0, spread=1.0, ssim=0.1)
    return Measurement(findings=(finding,), scores={"quality": quality}, gain=gain)


def heard(history: History, *happened: events.Event) -> None:
    for event in happened:
        history.hear(event)


def test_a_running_turn_grows_rows() -> None:
    history = History()
    heard(
        history,
        events.TurnStarted(at_s=0, turn="t1", words=""),
        events.Planned(at_s=1, calls=(CALL,), reason="why", decided_by="policy"),
    )
    assert history.turn == "t1" and history.plan == (CALL,)
    heard(history, events.ToolStarted(at_s=2, attempt="a1", call=CALL))
    assert history.plan == () and history.tools == 1
    row = history.rows["t1/a1"]
    assert row.status == "running" and row.words == "llmra: noise 20.0, jpeg 35"
    heard(
        history,
        events.ToolFinished(at_s=3, attempt="a1", seconds=1.0, error=""),
        events.Scored(at_s=4, attempt="a1", measurement=measured(0.7, 2.0)),
        events.Judged(at_s=5, attempt="a1", verdict=GOOD, best="a1"),
    )
    row = history.rows["t1/a1"]
    assert row.status == "kept" and row.gain == 2.0 and row.scores == {"quality": 0.7}
    assert history.leading == measured(0.7, 2.0)
    heard(history, events.ToolStarted(at_s=6, attempt="a2", call=CALL))
    heard(history, events.Judged(at_s=7, attempt="a2", verdict=BAD, best="a1"))
    assert history.rows["t1/a2"].status == "refused" and history.leading == measured(0.7, 2.0)
    assert [row.id for row in history.below("t1")] == ["t1/a1", "t1/a2"]
    heard(history, events.ToolStarted(at_s=8, attempt="a3", call=CALL))
    heard(history, events.ToolFinished(at_s=9, attempt="a3", seconds=0.0, error="no weights"))
    assert history.rows["t1/a3"].status == "failed" and history.rows["t1/a3"].why == "no weights"
    history.dropped()
    assert not history.rows and not history.turn


def test_rows_of_a_session_that_rests(noisy_png, quick, tmp_path) -> None:
    with open_session(noisy_png, policy=quick, vlm=None, run_dir=tmp_path / "talk") as session:
        session.restore()
        session.refine("a bit less")
        history = History()
        history.read(session)
        assert list(history.rows)[:3] == ["original", "t1", "t1/a1"]
        assert history.rows["t2"].words == "\u201ca bit less\u201d"
        kept = history.rows["t1/a1"]
        assert kept.status == "kept" and kept.artifact
        # The attempt that became the turn's result is told once.
        assert "t1/a1" not in [row.id for row in history.scored()]


def test_what_is_said_of_events() -> None:
    planned = events.Planned(
        at_s=1,
        calls=(
            CALL.model_copy(
                update={"trial": "llmra(noise=20) +2.6 dB expected on a piece; other +1.0"}
            ),
        ),
        reason="",
        decided_by="vlm",
    )
    assert [line.text for line in lines_of(planned)] == [
        "planned by the vision-language model: llmra: noise 20.0, jpeg 35",
        "chosen among 2: +2.6 dB expected on a piece",
    ]
    (line,) = lines_of(events.Judged(at_s=1, attempt="a1", verdict=BAD, best="original"))
    assert line.text.startswith("a1 not kept: structure") and line.tone == "bad"
    (line,) = lines_of(events.ToolFinished(at_s=1, attempt="a1", seconds=0, error="no weights"))
    assert line.text == "a1 failed: no weights"
    assert not lines_of(events.ToolProgressed(at_s=1, attempt="a1", done=1, total=2))
    assert (
        stage_of(events.ToolStarted(at_s=1, attempt="a1", call=CALL)) == f"a1: {call_words(CALL)}"
    )
    assert stage_of(events.ToolProgressed(at_s=1, attempt="a1", done=1, total=2)) is None
    assert stage_of(events.Paused(at_s=1)) == "paused"
    assert Steering().paused is False


def test_times_and_weights() -> None:
    assert [duration(s) for s in (0.4, 59.4, 61, 3600)] == [
        "0 s",
        "59 s",
        "1 min 01 s",
        "1 h 00 min",
    ]
    assert weight(900) == "0.9 kB" and weight(2_500_000) == "2.5 MB"


def test_a_run_is_not_told_twice(noisy_png, quick, tmp_path) -> None:
    with open_session(noisy_png, policy=quick, vlm=None, run_dir=tmp_path / "talk") as session:
        reply = session.restore()
        assert any("found:" in line for line in reply.said)
        assert not any("found:" in line for line in told(reply))
        assert told(reply)[0].startswith("t1: done in")
        assert told(session.undo()) == ("at original: the photo as it came in",)
