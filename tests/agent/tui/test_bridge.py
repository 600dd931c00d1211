"""The agent's thread: the order of its messages, and what ends it."""

import threading
from pathlib import Path

import pytest

from conservator.agent import events
from conservator.agent.dialogue.opening import open_session
from conservator.agent.tui import jobs
from conservator.agent.tui.bridge import Answered, Bridge, Failed, Heard, Job, Opened


class Post:
    """What arrived."""

    def __init__(self) -> None:
        self.messages: list[object] = []
        self._arrived = threading.Condition()

    def __call__(self, message: object) -> None:
        with self._arrived:
            self.messages.append(message)
            self._arrived.notify_all()

    def wait_for(self, kind: type, count: int = 1) -> None:
        with self._arrived:
            assert self._arrived.wait_for(
                lambda: sum(isinstance(m, kind) for m in self.messages) >= count, 120
            ), self.messages


@pytest.fixture
def post() -> Post:
    return Post()


@pytest.fixture
def bridge(post: Post, noisy_png: Path, quick_yaml: Path):
    def opened(on_event):
        return open_session(noisy_png, policy=quick_yaml, vlm=None, on_event=on_event)

    made = Bridge(post, opened)
    made.start()
    yield made
    made.close()
    assert made.join(120)


def test_a_run_arrives_in_the_order_of_its_events(bridge: Bridge, post: Post) -> None:
    post.wait_for(Opened)
    bridge.do(jobs.restore())
    assert bridge.running is not None and bridge.steering is not None
    post.wait_for(Answered)
    assert bridge.idle and bridge.steering is None
    assert isinstance(post.messages[0], Opened)
    assert isinstance(post.messages[-1], Answered)
    heard = [m.event for m in post.messages[1:-1] if isinstance(m, Heard)]
    assert len(heard) == len(post.messages) - 2
    names = [event.name for event in heard if not isinstance(event, events.ToolProgressed)]
    assert names[:4] == ["TurnStarted", "RunStarted", "Inspected", "Planned"]
    assert names[-2:] == ["RunFinished", "TurnFinished"]
    for attempt in {e.attempt for e in heard if isinstance(e, events.ToolStarted)}:
        own = [e.name for e in heard if getattr(e, "attempt", "") == attempt]
        steps = list(dict.fromkeys(own))
        assert steps == [
            name
            for name in ("ToolStarted", "ToolProgressed", "ToolFinished", "Scored", "Judged")
            if name in steps
        ]


def test_jobs_are_done_one_after_the_other(bridge: Bridge, post: Post) -> None:
    order: list[int] = []
    for number in range(5):
        bridge.do(Job(str(number), lambda session, bridge, n=number: order.append(n)))
    post.wait_for(Answered, 5)
    assert order == [0, 1, 2, 3, 4]


def test_a_job_that_fails_costs_only_itself(bridge: Bridge, post: Post) -> None:
    def fails(session, bridge):
        raise ZeroDivisionError("nobody expected this")

    bridge.do(Job("bad", fails))
    bridge.do(jobs.say("go t7", takes_long=False))
    bridge.do(jobs.say("tree", takes_long=False))
    post.wait_for(Answered)
    errors = [m.error for m in post.messages if isinstance(m, Failed)]
    assert errors[0] == "ZeroDivisionError: nobody expected this"
    assert "unknown node or branch 't7'" in errors[1]
    assert bridge.idle


def test_a_cancelled_turn_leaves_the_session(bridge: Bridge, post: Post) -> None:
    post.wait_for(Opened)
    bridge.stop()
    bridge.do(jobs.restore())
    bridge.stop()
    post.wait_for(Failed)
    failed = next(m for m in post.messages if isinstance(m, Failed))
    assert failed.cancelled
    assert bridge.session is not None and not bridge.session.tree.turns
    bridge.do(jobs.say("remove the noise", takes_long=True))
    post.wait_for(Answered)
    assert [turn.id for turn in bridge.session.tree.turns] == ["t1"]


def test_what_cannot_be_opened_is_told(post: Post, tmp_path: Path) -> None:
    missing = tmp_path / "missing.png"
    bridge = Bridge(post, lambda on_event: open_session(missing, vlm=None, on_event=on_event))
    bridge.start()
    post.wait_for(Failed)
    assert "missing.png" in post.messages[0].error and post.messages[0].job is None
    assert bridge.join(60)
