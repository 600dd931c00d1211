"""A person is asked before tools are called, and the answer is what happens."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from conservator import Answer, Kind, Question, RestorationResult, restore, resume, stream
from conservator.agent import events
from conservator.agent.approval import answer_from
from conservator.agent.errors import PromptError, UnknownNameError, UsageError
from conservator.policies.attempt import Attempt
from conservator.policies.preset import Preset


class Person:
    """Answers from a list, and keeps what was asked."""

    def __init__(self, *answers: Answer | str) -> None:
        self._answers: Iterable[Answer | str] = iter(answers)
        self.questions: list[Question] = []

    def __call__(self, question: Question) -> Answer | str:
        self.questions.append(question)
        return next(iter(self._answers))


def names(heard: Iterable[events.Event]) -> list[str]:
    return [e.name for e in heard if not isinstance(e, events.ToolProgressed)]


def treats(attempt: Attempt) -> float:
    return attempt.call.prompt.degradations[Kind.NOISE]


def test_an_approved_plan_ends_as_an_unasked_one(
    noisy_png: Path, quick: Preset, whole: RestorationResult
) -> None:
    heard: list[events.Event] = []
    person = Person("yes")
    result = restore(
        noisy_png, policy=quick, approve="plan", approver=person, on_event=heard.append
    )
    (question,) = person.questions
    assert question.report == whole.before
    assert question.call == whole.attempts[0].call
    assert question.prompts == (whole.attempts[0].rendered_prompt,)
    assert result.path is not None and whole.path is not None
    assert result.path.read_bytes() == whole.path.read_bytes()
    assert names(heard) == [
        *("RunStarted", "Inspected", "Planned", "ApprovalAsked", "ApprovalGiven"),
        *("ToolStarted", "ToolFinished", "Scored", "Judged", "Planned", "RunFinished"),
    ]
    assert [event.at_s for event in heard] == sorted(event.at_s for event in heard)


def strict(preset: Preset) -> Preset:
    """Nothing is accepted, so that several calls are made."""
    guards = preset.guards.model_copy(update={"structure": 1.0, "allowances": {}})
    return preset.model_copy(update={"guards": guards})


@pytest.mark.parametrize(("approve", "asked"), [("plan", 1), ("each", 2)])
def test_how_often_it_asks(noisy: np.ndarray, quick: Preset, approve: str, asked: int) -> None:
    person = Person("yes", "yes", "yes")
    result = restore(noisy, policy=strict(quick), approve=approve, approver=person)
    assert len(result.attempts) == 2
    assert [q.scope for q in person.questions] == [approve] * asked


def test_nothing_is_asked_where_nothing_is_to_be_done(clean: np.ndarray, quick: Preset) -> None:
    person = Person()
    result = restore(clean, policy=quick, approve="each", approver=person)
    assert (result.outcome, person.questions) == ("unchanged", [])
    dry = restore(clean, policy=quick, approve="plan", approver=person, dry_run=True)
    assert (dry.outcome, person.questions) == ("unchanged", [])


def test_a_change_is_made_and_recorded(noisy: np.ndarray, quick: Preset) -> None:
    result = restore(noisy, policy=quick, approve="plan", approver=Person("noise=20"))
    (attempt,) = result.attempts
    assert treats(attempt) == 20
    assert attempt.call.decided_by == "user"
    assert "changed by you, from classical-nlm(noise=24" in attempt.call.rationale
    assert result.decided["plan"] == "user"
    assert result.as_dict()["attempts"][0]["call"]["decided_by"] == "user"


def test_another_restorer_does_it(noisy: np.ndarray, quick: Preset) -> None:
    answer = Answer(what="change", restorer="classical-dct", strengths={Kind.NOISE: 22})
    result = restore(noisy, policy=quick, approve="plan", approver=Person(answer))
    first = result.attempts[0]
    assert (first.call.restorer, treats(first)) == ("classical-dct", 22)


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ("noise=200", "far beyond the measured sigma"),
        ("rain=0.5", "does not treat rain"),
        ("noise=-3", "noise=-3"),
        ("with magic", "unknown restorer 'magic'"),
        ("nonsense=3", "unknown degradation 'nonsense'"),
        ("noise=much", "no number"),
        ("noise=20 or so", "cannot read 'or so'"),
    ],
)
def test_a_change_is_checked_like_a_models_proposal(
    noisy: np.ndarray, quick: Preset, answer: str, complaint: str
) -> None:
    person = Person(answer, "stop")
    result = restore(noisy, policy=quick, approve="plan", approver=person)
    first, second = person.questions
    assert first.replies == ()
    assert complaint in second.replies[0]
    assert second.calls == first.calls
    assert result.outcome == "stopped"
    assert result.spent.tools == 0


def test_a_skipped_call_is_not_made_and_not_planned_again(noisy: np.ndarray, quick: Preset) -> None:
    result = restore(noisy, policy=quick, approve="each", approver=Person("skip"))
    (attempt,) = result.attempts
    assert (attempt.status, attempt.error, attempt.artifact) == ("skipped", "skipped by you", "")
    assert (result.outcome, result.spent.tools) == ("unchanged", 0)
    assert "skipped by you" in result.reason


def test_words_change_the_plan_and_are_asked_about_again(noisy: np.ndarray, quick: Preset) -> None:
    person = Person("a bit less smoothing", "frobnicate the wug", "yes")
    result = restore(noisy, policy=quick, approve="plan", approver=person)
    before, after, still = person.questions
    strength = [q.call.prompt.degradations[Kind.NOISE] for q in (before, after, still)]
    assert strength[0] > strength[1] == strength[2]
    assert "less denoising" in after.replies[0]
    assert "do not understand" in still.replies[0]
    assert treats(result.attempts[0]) == strength[1]
    assert result.attempts[0].call.decided_by == "user"
    assert [one.words for one in result.said] == ["a bit less smoothing"]
    assert any("frobnicate" in note for note in result.notes)


def test_a_kind_left_alone_in_words_is_not_planned_again(noisy: np.ndarray, quick: Preset) -> None:
    result = restore(noisy, policy=quick, approve="each", approver=Person("keep the grain"))
    assert (result.outcome, result.spent.tools) == ("unchanged", 0)
    assert result.reason == "noise left alone, as you said"


def test_a_stop_keeps_the_best_so_far_and_the_question(
    noisy_png: Path, quick: Preset, whole: RestorationResult
) -> None:
    stopped = restore(noisy_png, policy=quick, approve="plan", approver=Person("stop"))
    assert stopped.outcome == "stopped"
    assert stopped.reason == "stopped by you; the input is kept as it is"
    assert stopped.path is not None and stopped.run_dir is not None
    assert stopped.path.read_bytes() == noisy_png.read_bytes()
    heard: list[events.Event] = []
    result = resume(stopped.run_dir, approver=Person("yes"), on_event=heard.append)
    assert names(heard)[:4] == ["RunResumed", "ApprovalAsked", "ApprovalGiven", "ToolStarted"]
    assert result.path == stopped.path
    assert whole.path is not None
    assert stopped.path.read_bytes() == whole.path.read_bytes()


def test_without_an_approver_the_run_waits_for_its_answer(
    noisy_png: Path, quick: Preset, whole: RestorationResult
) -> None:
    seen = list(stream(noisy_png, policy=quick, approve="plan"))
    asked, last = seen[-2:]
    assert isinstance(asked, events.ApprovalAsked) and isinstance(last, events.RunFinished)
    waiting = last.result
    assert (waiting.outcome, waiting.path) == ("waiting", None)
    assert waiting.question == asked.question
    assert waiting.run_dir is not None
    assert not noisy_png.with_name("noisy.restored.png").exists()
    assert resume(waiting.run_dir).outcome == "waiting"
    heard: list[events.Event] = []
    result = resume(waiting.run_dir, answer="yes", on_event=heard.append)
    assert "Planned" not in names(heard)[:4]
    np.testing.assert_array_equal(result.array, whole.array)


def test_a_run_on_pixels_can_wait_too(noisy: np.ndarray, quick: Preset) -> None:
    waiting = restore(noisy, policy=quick, approve="plan")
    assert waiting.run_dir is not None
    changed = resume(waiting.run_dir, answer="noise=20")
    assert treats(changed.attempts[0]) == 20


def test_a_resumed_run_asks_as_it_is_told_now(noisy_png: Path, quick: Preset) -> None:
    waiting = restore(noisy_png, policy=quick, approve="plan")
    assert waiting.run_dir is not None
    assert resume(waiting.run_dir, approve="never").changed


def test_a_run_that_began_unasked_asks_before_the_next_call(noisy_png: Path, quick: Preset) -> None:
    def killed(event: events.Event) -> None:
        if isinstance(event, events.ToolStarted):
            raise KeyboardInterrupt

    begun = restore(noisy_png, policy=quick, on_event=killed)
    assert begun.run_dir is not None
    person = Person("noise=20")
    result = resume(begun.run_dir, approve="plan", approver=person)
    assert len(person.questions) == 1
    assert treats(result.attempts[0]) == 20


def test_waiting_for_a_person_takes_no_time(noisy: np.ndarray, quick: Preset) -> None:
    from conservator.agent.execution import begin
    from conservator.agent.options import Options

    now = 0.0

    def slow(question: Question) -> str:
        nonlocal now
        now += 1000.0
        return "yes"

    options = Options(
        policy=quick, max_seconds=30.0, approve="plan", approver=slow, clock=lambda: now
    )
    result = begin(noisy, options, on_event=None, cancel=None)
    assert result.changed
    assert result.spent.seconds == 0


def test_a_cancelled_question_is_asked_again(noisy_png: Path, quick: Preset) -> None:
    def leaves(question: Question) -> str:
        raise KeyboardInterrupt

    left = restore(noisy_png, policy=quick, approve="plan", approver=leaves)
    assert (left.outcome, left.path) == ("cancelled", None)
    assert left.run_dir is not None
    person = Person("yes")
    assert resume(left.run_dir, approver=person).changed
    assert len(person.questions) == 1


def raising(question: Question) -> str:
    raise ValueError("the approver's own")


@pytest.mark.parametrize(
    ("options", "error", "named"),
    [
        ({"approve": "always"}, UnknownNameError, "always"),
        ({"approver": raising}, UsageError, "approve='plan'"),
        ({"approve": "plan", "approver": lambda q: 7}, UsageError, "not int"),
        ({"approve": "plan", "approver": lambda q: ""}, UsageError, "20 answers in a row"),
        ({"approve": "plan", "approver": raising}, ValueError, "own"),
    ],
)
def test_wrong_approvers_are_told(
    noisy: np.ndarray, quick: Preset, options: dict, error: type[Exception], named: str
) -> None:
    with pytest.raises(error, match=named):
        restore(noisy, policy=quick, **options)


def test_an_approver_that_fails_leaves_the_run_at_the_question(
    noisy_png: Path, quick: Preset
) -> None:
    folder = noisy_png.parent / "run"
    with pytest.raises(ValueError, match="own"):
        restore(noisy_png, policy=quick, approve="plan", approver=raising, run_dir=folder)
    assert resume(folder, answer="yes").changed


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("Yes.", Answer(what="approve")),
        ("  go ahead ", Answer(what="approve")),
        ("no", Answer(what="skip")),
        ("that\u2019s enough!", Answer(what="stop")),
        ("noise = 20, jpeg=30", Answer(what="change", strengths={Kind.NOISE: 20, Kind.JPEG: 30})),
        ("with llmra", Answer(what="change", restorer="llmra")),
        (
            "low-light=0.5 using llmra",
            Answer(what="change", restorer="llmra", strengths={Kind.LOW_LIGHT: 0.5}),
        ),
        ("less smoothing", Answer(what="say", words="less smoothing")),
        ("use less of it", Answer(what="say", words="use less of it")),
    ],
)
def test_answers_in_words(words: str, answer: Answer) -> None:
    assert answer_from(words) == answer


@pytest.mark.parametrize("words", ["", "  ", "noise=", "=20", "noise=20 jpeg", "noise=a"])
def test_answers_that_do_not_read(words: str) -> None:
    with pytest.raises(PromptError):
        answer_from(words)


@pytest.mark.parametrize(
    "data", [{"what": "change"}, {"what": "say"}, {"what": "approve", "restorer": "llmra"}]
)
def test_answers_that_contradict_themselves(data: dict) -> None:
    with pytest.raises(ValueError):
        Answer.model_validate(data)


def test_the_question_is_data(noisy_png: Path, quick: Preset) -> None:
    waiting = restore(noisy_png, policy=quick, approve="each")
    assert waiting.question is not None
    again = Question.model_validate_json(waiting.question.model_dump_json())
    assert again == waiting.question
    assert waiting.as_dict()["question"]["calls"][0]["restorer"] == "classical-nlm"
