"""What the terminal UI says: events, findings and verdicts in short plain lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from conservator.agent.errors import ConservatorError

if TYPE_CHECKING:
    from conservator.agent.dialogue.reply import Reply
    from conservator.agent.events import Event
    from conservator.agent.result import RestorationResult
    from conservator.agent.vlm.asked import Asked
    from conservator.policies.acceptance import Measurement, Verdict
    from conservator.policies.attempt import ToolCall
    from conservator.restorers.degradations.vocabulary import ConditionReport, Kind

__all__ = [
    "Line",
    "Tone",
    "call_words",
    "duration",
    "error_words",
    "gain_words",
    "greeting",
    "kind_words",
    "lines_of",
    "stage_of",
    "told",
    "value_words",
    "weight",
]

Tone = Literal["user", "reply", "event", "good", "bad", "error", "question"]


@dataclass(frozen=True)
class Line:
    """A line of the dialogue, and who speaks."""

    text: str
    tone: Tone = "event"


def lines_of(event: Event) -> tuple[Line, ...]:
    """What is told of an event in the dialogue; nothing for those that only move a bar."""
    from conservator.agent import events
    from conservator.agent.dialogue.wording import found

    match event:
        case events.Inspected(report=report):
            scene = (Line(f"it shows {report.scene}"),) if report.scene else ()
            return (Line(f"found: {found(report)}"), *scene)
        case events.ModelAsked(asked=asked):
            return _model_said(asked)
        case events.Planned(calls=calls, reason=reason, decided_by=who):
            if not calls:
                return (Line(f"nothing more planned: {reason}"),)
            by = {"vlm": "the vision-language model", "user": "you"}.get(who, "the policy")
            return (Line(f"planned by {by}: {call_words(calls[0])}"), *_chosen(calls[0]))
        case events.ToolStarted(attempt=attempt, call=call) if call.calls_tool:
            return (Line(f"{attempt} runs: {call_words(call)}"), *_told_to(call))
        case events.ToolFinished(attempt=attempt, error=error) if error:
            return (Line(f"{attempt} failed: {error}", "bad"),)
        case events.Scored(attempt=attempt, measurement=measurement):
            return _scored(attempt, measurement)
        case events.Judged(attempt=attempt, verdict=verdict):
            return (_judged(attempt, verdict),)
        case events.LimitReached(limit=limit):
            words = {"seconds": "the time is up", "tools": "no restorer calls are left"}
            return (Line(words.get(limit, f"the limit of {limit} is reached"), "bad"),)
        case events.Paused():
            return (Line("paused; the budget's clock stands still"),)
        case events.Continued():
            return (Line("going on"),)
        case events.Steered(lines=said, understood=understood):
            tone: Tone = "reply" if understood else "bad"
            return tuple(Line(line, tone) for line in said)
        case events.RunFinished(result=result):
            return tuple(Line(note, "bad") for note in _untold(result))
        case events.ApprovalGiven(answer=answer):
            return (Line(f"you answered: {answer.words or answer.what}", "user"),)
    return ()


def stage_of(event: Event) -> str | None:
    """What goes on after an event, for the line that moves; None where it does not change."""
    from conservator.agent import events

    match event:
        case events.TurnStarted() | events.RunStarted() | events.RunResumed():
            return "looking at the photo"
        case events.Inspected() | events.Judged() | events.Continued() | events.ApprovalGiven():
            return "planning"
        case events.Planned(calls=calls):
            return "finishing" if not calls else "starting"
        case events.ToolStarted(attempt=attempt, call=call):
            return f"{attempt}: {call_words(call)}"
        case events.ToolFinished(attempt=attempt):
            return f"{attempt}: measuring the result"
        case events.Scored(attempt=attempt):
            return f"{attempt}: judging"
        case events.Paused():
            return "paused"
        case events.ApprovalAsked():
            return "waiting for your answer"
        case events.RunFinished():
            return "finishing"
    return None


def call_words(call: ToolCall) -> str:
    """A call with its strengths: `llmra: noise 7.7, low light 1.20`."""
    asked = [f"{kind_words(k)} {value_words(k, v)}" for k, v in call.prompt.degradations.items()]
    if call.prompt.blind:
        asked.append("whatever else there is" if asked else "whatever there is")
    share = "" if call.blend == 1 else f" ({call.blend:.0%} of it)"
    where = "" if call.source == "original" else f" on {call.source}"
    return f"{call.restorer}: {', '.join(asked)}{share}{where}"


def told(reply: Reply) -> tuple[str, ...]:
    """What a session answered, without what its run has told already."""
    turn = reply.turn
    if turn is None or turn.instruction != "restore" or len(reply.said) < 2:
        return reply.said
    first = f"{turn.id}: done in {duration(turn.seconds)}"
    return (first, *(line for line in reply.said[1:] if not line.strip().startswith("note: ")))


def greeting(report: ConditionReport) -> tuple[Line, ...]:
    """What is said of a photo that was just opened."""
    from conservator.agent.dialogue.wording import found

    return (
        Line(f"found: {found(report)}"),
        Line("Ctrl+R restores what is certain; or say what you want, in your own words"),
    )


def kind_words(kind: Kind) -> str:
    """A kind: `low light`."""
    return kind.value.replace("_", " ")


def value_words(kind: Kind, value: float) -> str:
    """A strength in its kind's own unit, with the digits that mean something."""
    from conservator.restorers.degradations.vocabulary import PARAMETERS

    return f"{value:.{PARAMETERS[kind].decimals}f}"


def gain_words(gain: float | None) -> str:
    """An estimated gain: `+6.2 dB`."""
    return "" if gain is None else f"{gain:+.1f} dB"


def duration(seconds: float) -> str:
    """Seconds for people: `8 s`, `2 min 05 s`, `1 h 02 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def weight(count: int) -> str:
    """Bytes for people."""
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"


def error_words(error: BaseException) -> str:
    """An error in one line."""
    text = " ".join(str(error).split())
    if isinstance(error, ConservatorError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _model_said(asked: Asked) -> tuple[Line, ...]:
    """What the vision-language model answered, or why it did not."""
    notes = tuple(Line(note, "bad") for note in asked.notes)
    answer = asked.answer
    match asked.question if asked.status == "answered" else "":
        case "condition":
            seen = [
                f"{one['kind'].replace('_', ' ')} {one['level']}" for one in answer["degradations"]
            ]
            return (*notes, Line(f"the model sees: {', '.join(seen) or 'nothing wrong'}"))
        case "plan":
            return (*notes, Line(f"the model proposes: {', or '.join(answer['calls'])}"))
        case "verdict":
            best = {"after": "better than before", "before": "worse than before"}
            words = best.get(answer["better"], "no better than before")
            reason = f": \u201c{answer['reason']}\u201d" if answer["reason"] else ""
            return (*notes, Line(f"the model finds {asked.about} {words}{reason}"))
    return notes


def _untold(result: RestorationResult) -> tuple[str, ...]:
    """The notes that were not told when it happened."""
    asked = () if result.vlm is None else result.vlm.asked
    told_then = {note for one in asked for note in one.notes}
    return tuple(note for note in result.notes if note not in told_then)


def _told_to(call: ToolCall) -> tuple[Line, ...]:
    """What the restorer is told, indented."""
    from conservator.agent.approval import prompt_of
    from conservator.restorers import catalog

    prompt = " ".join(prompt_of(call, catalog.cards()).split())
    return (Line(f"  \u201c{prompt}\u201d"),) if prompt else ()


def _scored(attempt: str, measurement: Measurement) -> tuple[Line, ...]:
    words = [f"{name} {score:.3g}" for name, score in measurement.scores.items()]
    if measurement.gain is not None:
        words.insert(0, f"gain {gain_words(measurement.gain.psnr)}")
    return (Line(f"{attempt} scores: {', '.join(words)}"),) if words else ()


def _chosen(call: ToolCall) -> tuple[Line, ...]:
    """Among how many it was chosen, and what was expected of it; `why` tells of the others."""
    first, *others = call.trial.split("; ")
    if not others:
        return ()
    expected = first.rpartition(") ")[2]
    return (Line(f"chosen among {len(others) + 1}: {expected}"),)


def _judged(attempt: str, verdict: Verdict) -> Line:
    if verdict.accepted:
        return Line(f"{attempt} kept: {verdict.reason}", "good")
    return Line(f"{attempt} not kept: {verdict.reason}", "bad")
