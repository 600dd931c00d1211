"""A run is killed at each node, twice in one place, or runs out of disk: it goes on, and no work is done twice."""

import errno
import json
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conservator import RestorationResult, restore, resume
from conservator.agent import events, sessions
from conservator.agent.errors import OutputError, UsageError
from conservator.policies.preset import Preset

SOURCE = str(Path(__file__).parents[2] / "src")

DYING = """
import json, os, signal, sys
from pathlib import Path

import cv2, numpy
from langgraph.checkpoint.sqlite import SqliteSaver
from conservator.agent import api, graph
from conservator.policies.preset import Preset

# A fork takes no threads along.
cv2.setNumThreads(0)

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def dying(name, when):
    # The node that dies before it begins, or when it is done and not checkpointed yet.
    real = getattr(graph, name)
    def node(state, context):
        if when == "after":
            real(state, context)
        die()
    node.__name__ = name
    setattr(graph, name, node)
    graph._built.cache_clear()

def half_written(module, name):
    # The write that dies in the middle of its bytes.
    real = getattr(module, name)
    def write(stream, data, *rest, **options):
        stream.write(b"half")
        stream.flush()
        die()
    setattr(module, name, write)

deaths = json.loads(sys.argv[1])
preset = Preset.model_validate_json(Path(deaths[0]["preset"]).read_text())
api.restore(deaths[0]["picture"], policy=preset, run_dir=deaths[0]["folder"] + ".whole", output=deaths[0]["output"] + ".whole.png")
for death in deaths:
    child = os.fork()
    if child:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, death
        continue
    try:
        options = {}
        if death["at"] == "question":
            options = {"approve": "plan", "approver": die}
        elif death["at"] == "artifact":
            half_written(numpy, "save")
        elif death["at"] == "picture":
            os.fsync = die
        elif death["at"] == "checkpoint":
            fewer, put = int(death["when"]), SqliteSaver.put
            def last(*given):
                global fewer
                fewer -= 1
                return put(*given) if fewer else die()
            SqliteSaver.put = last
        else:
            dying(death["at"], death["when"])
        places = {"run_dir": death["folder"], "output": death["output"]}
        api.restore(death["picture"], policy=preset, **places, **options)
    finally:
        os._exit(1)
"""
"""Each run has a process of its own, forked off one that has loaded everything."""

PATH = [
    ("inspect", ["Inspected"]),
    ("plan", ["Planned"]),
    ("act", ["ToolStarted", "ToolFinished"]),
    ("score", ["Scored"]),
    ("judge", ["Judged"]),
    ("plan", ["Planned"]),
    ("finish", []),
]
"""The nodes of a run on the noisy photo, and what is heard of each."""
CHECKPOINTS = ("1", "3", "5")
"""Of the first state as it is given, after inspect, and after act."""
NODES = ("inspect", "plan", "act", "score", "judge", "finish")


def names(heard: Iterable[events.Event]) -> list[str]:
    return [e.name for e in heard if not isinstance(e, events.ToolProgressed)]


@pytest.fixture(scope="module")
def killed(
    noisy: np.ndarray,
    clean: np.ndarray,
    quick: Preset,
    surroundings: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A folder with runs that were killed, each in a folder named after its death."""
    folder = tmp_path_factory.mktemp("killed")
    (folder / "preset.json").write_text(quick.model_dump_json())
    Image.fromarray(noisy).save(folder / "noisy.png")
    Image.fromarray(clean).save(folder / "clean.jpg", quality=97)

    def death(picture: str, at: str, when: str = "before") -> dict[str, str]:
        name, suffix = picture.split(".")
        place = folder / f"{name}-{at}-{when}"
        return {
            "at": at,
            "when": when,
            "picture": str(folder / picture),
            "preset": str(folder / "preset.json"),
            "folder": f"{place}.run",
            "output": f"{place}.{suffix}",
        }

    deaths = [death("noisy.png", node, "after") for node in NODES]
    deaths.append(death("noisy.png", "judge"))
    deaths += [death("noisy.png", at) for at in ("question", "artifact", "picture")]
    deaths += [death("noisy.png", "checkpoint", when) for when in CHECKPOINTS]
    deaths.append(death("clean.jpg", "finish", "after"))
    subprocess.run(
        [sys.executable, "-c", DYING, json.dumps(deaths)],
        env={**os.environ, "PYTHONPATH": SOURCE, "OMP_NUM_THREADS": "1"},
        check=True,
    )
    return folder


@pytest.mark.parametrize(
    ("node", "when"), [*((node, "after") for node in NODES), ("judge", "before")]
)
def test_a_run_killed_at_a_node_goes_on_with_that_node(
    killed: Path, whole: RestorationResult, node: str, when: str
) -> None:
    folder, output = killed / f"noisy-{node}-{when}.run", killed / f"noisy-{node}-{when}.png"
    assert output.exists() == ((node, when) == ("finish", "after"))
    heard: list[events.Event] = []
    result = resume(folder, on_event=heard.append)
    where = next(n for n, (name, _) in enumerate(PATH) if name == node)
    left = [name for _, told in PATH[where:] for name in told]
    assert names(heard) == ["RunResumed", *left, "RunFinished"]
    assert whole.path is not None
    assert output.read_bytes() == whole.path.read_bytes()
    assert (result.outcome, result.reason) == (whole.outcome, whole.reason)
    assert result.recipe == whole.recipe
    assert result.spent.tools == whole.spent.tools
    artifacts = sorted(path.name for path in (folder / "artifacts").iterdir())
    assert artifacts == [f"{result.steps[0].artifact}.npy"]


@pytest.mark.parametrize("when", CHECKPOINTS)
def test_a_run_killed_between_a_node_and_its_checkpoint_goes_on(
    killed: Path, whole: RestorationResult, when: str
) -> None:
    heard: list[events.Event] = []
    result = resume(killed / f"noisy-checkpoint-{when}.run", on_event=heard.append)
    output = killed / f"noisy-checkpoint-{when}.png"
    assert whole.path is not None
    assert output.read_bytes() == whole.path.read_bytes()
    assert (result.outcome, result.spent.tools) == (whole.outcome, 1)
    # What the node found out is kept apart from the checkpoint, and is there unless the kill came before that, too.
    done = max(0, int(when) - 2)
    lefts = [[name for _, told in PATH[n:] for name in told] for n in (done, max(0, done - 1))]
    assert names(heard)[1:-1] in lefts


def test_an_untouched_photo_survives_a_kill_after_it_was_written(killed: Path) -> None:
    output = killed / "clean-finish-after.jpg"
    assert output.read_bytes() == (killed / "clean.jpg").read_bytes()
    assert resume(killed / "clean-finish-after.run").outcome == "unchanged"
    assert output.read_bytes() == (killed / "clean.jpg").read_bytes()


def test_a_run_killed_at_a_question_asks_it_again(killed: Path, whole: RestorationResult) -> None:
    heard: list[events.Event] = []
    folder = killed / "noisy-question-before.run"
    result = resume(folder, approver=lambda question: "yes", on_event=heard.append)
    assert names(heard)[:4] == ["RunResumed", "ApprovalAsked", "ApprovalGiven", "ToolStarted"]
    np.testing.assert_array_equal(result.array, whole.array)


@pytest.mark.parametrize("at", ["artifact", "picture"])
def test_what_was_half_written_is_gone_after_the_run_went_on(
    killed: Path, whole: RestorationResult, at: str
) -> None:
    folder, output = killed / f"noisy-{at}-before.run", killed / f"noisy-{at}-before.png"

    def half() -> list[Path]:
        return list(folder.rglob("*.part") if at == "artifact" else killed.glob(".*.part"))

    assert len(half()) == 1 and not output.exists()
    resume(folder)
    assert whole.path is not None
    assert output.read_bytes() == whole.path.read_bytes()
    assert half() == []


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file may grow beyond this many bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [35_000, 76_000, 125_000, 180_000, 240_000])
def test_a_full_disk_costs_nothing_but_the_wait(
    tmp_path: Path, noisy_png: Path, quick: Preset, whole: RestorationResult, size: int
) -> None:
    """The checkpoints grow with each node, so each size ends the run at another one."""
    folder, output = tmp_path / "run", tmp_path / "out.png"
    heard: list[events.Event] = []
    with files_of_at_most(size), pytest.raises(OutputError, match="make room, then resume") as full:
        restore(noisy_png, policy=quick, run_dir=folder, output=output, on_event=heard.append)
    assert "\n" not in str(full.value)
    assert not output.exists()
    assert not list(tmp_path.rglob("*.part"))
    again: list[events.Event] = []
    result = resume(folder, on_event=again.append)
    assert whole.path is not None
    assert output.read_bytes() == whole.path.read_bytes()
    assert result.spent.tools == 1
    # At most the node whose checkpoint did not fit is done again.
    both = names(heard)[1:] + names(again)[1:-1]
    assert len(both) <= sum(len(told) for _, told in PATH) + 2


def no_room(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("where", "name", "message"),
    [(sessions.np, "save", "cannot keep a candidate"), (os, "fsync", "cannot be written")],
)
def test_no_room_for_a_picture(
    tmp_path: Path,
    noisy_png: Path,
    quick: Preset,
    whole: RestorationResult,
    where: object,
    name: str,
    message: str,
) -> None:
    folder, output = tmp_path / "run", tmp_path / "out.png"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(OutputError, match=message) as full:
        patch.setattr(where, name, no_room)
        restore(noisy_png, policy=quick, run_dir=folder, output=output)
    assert "No space left on device" in str(full.value)
    assert not output.exists()
    assert not [*tmp_path.rglob("*.part"), *tmp_path.rglob(".*.part")]
    assert resume(folder).outcome == whole.outcome
    assert whole.path is not None
    assert output.read_bytes() == whole.path.read_bytes()


def test_no_room_for_the_input(noisy: np.ndarray, quick: Preset, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with files_of_at_most(20_000), pytest.raises(OutputError, match="cannot keep the input"):
        restore(noisy, policy=quick, run_dir=folder)
    assert not folder.exists()


def test_two_runs_of_one_photo_at_once_do_not_disturb_each_other(
    noisy_png: Path, quick: Preset, whole: RestorationResult
) -> None:
    together = threading.Barrier(2, timeout=60)
    results: list[RestorationResult] = []

    def listen(event: events.Event) -> None:
        # Both have chosen their names before either writes; both write at the same time.
        if isinstance(event, events.RunStarted | events.Judged):
            together.wait()

    def run() -> None:
        results.append(restore(noisy_png, policy=quick, on_event=listen))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert whole.path is not None
    written = {result.path for result in results}
    assert {path.name for path in written if path} == {"noisy.restored.png", "noisy.restored-2.png"}
    for result in results:
        assert result.path is not None and result.run_dir is not None
        assert result.path.read_bytes() == whole.path.read_bytes()
        assert result.recipe == whole.recipe
        report = json.loads((result.run_dir / "report.json").read_text())
        assert report["path"] == str(result.path)
        again = resume(result.run_dir)
        assert (again.path, again.outcome) == (result.path, result.outcome)
    assert len({result.run_dir for result in results}) == 2


def test_an_output_that_was_asked_for_by_name_is_not_put_elsewhere(
    noisy_png: Path, quick: Preset, tmp_path: Path
) -> None:
    output = tmp_path / "out.png"

    def somebody(event: events.Event) -> None:
        if isinstance(event, events.Judged):
            output.write_bytes(b"somebody's")

    with pytest.raises(OutputError, match="exists"):
        restore(noisy_png, policy=quick, output=output, on_event=somebody)
    assert output.read_bytes() == b"somebody's"
    folder = tmp_path / "out.run"
    output.unlink()
    assert resume(folder).path == output


def test_a_run_under_way_is_nobody_elses(noisy_png: Path, quick: Preset, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    refused: list[UsageError] = []

    def meddle(event: events.Event) -> None:
        if isinstance(event, events.ToolStarted):
            with pytest.raises(UsageError, match="under way") as error:
                resume(folder, max_tools=7)
            refused.append(error.value)

    result = restore(noisy_png, policy=quick, run_dir=folder, on_event=meddle)
    assert result.changed and len(refused) == 1
    assert '"max_tools": 7' not in (folder / "request.json").read_text()
    assert resume(folder).changed
