"""A run survives what happens to its process: Ctrl-C, a limit, a second look; for kill -9 see test_durability."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conservator import RestorationResult, restore, resume
from conservator.agent import events
from conservator.agent.errors import InputError, MissingFileError, OutputError, UsageError
from conservator.agent.sessions import RunFolder, free_folder
from conservator.policies.preset import Preset


def stop_at(kind: type[events.Event]):
    def listener(event: events.Event) -> None:
        if isinstance(event, kind):
            raise KeyboardInterrupt

    return listener


@pytest.mark.parametrize(
    "kind", [events.RunStarted, events.Inspected, events.ToolStarted, events.Scored, events.Judged]
)
def test_an_interrupted_run_resumes_to_the_same_result(
    tmp_path: Path,
    noisy_png: Path,
    quick: Preset,
    whole: RestorationResult,
    kind: type[events.Event],
) -> None:
    stopped = restore(noisy_png, policy=quick, run_dir=tmp_path / "run", on_event=stop_at(kind))
    assert stopped.outcome == "cancelled"
    result = resume(tmp_path / "run")
    np.testing.assert_array_equal(result.array, whole.array)
    assert result.outcome == whole.outcome


def test_an_interrupted_run_on_pixels_keeps_what_it_needs(
    noisy: np.ndarray, quick: Preset, whole: RestorationResult
) -> None:
    stopped = restore(noisy, policy=quick, on_event=stop_at(events.ToolStarted))
    assert stopped.outcome == "cancelled"
    assert stopped.run_dir is not None
    result = resume(stopped.run_dir)
    np.testing.assert_array_equal(result.array, whole.array)


def test_pixels_with_transparency_come_back(
    tmp_path: Path, noisy: np.ndarray, quick: Preset
) -> None:
    given = np.dstack([noisy, np.full(noisy.shape[:2], 200, np.uint8)])
    folder = tmp_path / "run"
    restore(given, policy=quick, run_dir=folder, on_event=stop_at(events.ToolStarted))
    again = RunFolder.open(folder).read_input()
    np.testing.assert_array_equal((again.pixels * 255).round().astype(np.uint8), noisy)
    assert again.alpha is not None
    assert np.unique((again.alpha * 255).round()) == [200]


def test_a_finished_run_gives_its_result_again(whole: RestorationResult) -> None:
    first = whole
    assert first.run_dir is not None
    heard: list[events.Event] = []
    again = resume(first.run_dir, on_event=heard.append)
    np.testing.assert_array_equal(again.array, first.array)
    assert (again.outcome, again.path, again.recipe) == (first.outcome, first.path, first.recipe)
    assert [type(event) for event in heard] == [events.RunResumed, events.RunFinished]


def test_a_new_budget_lets_a_limited_run_go_on(noisy_png: Path, quick: Preset) -> None:
    limited = restore(noisy_png, policy=quick, max_tools=0)
    assert limited.outcome == "limit" and limited.run_dir is not None
    assert resume(limited.run_dir).outcome == "limit"
    result = resume(limited.run_dir, max_tools=3)
    assert result.changed
    assert result.path == limited.path
    assert result.path is not None
    np.testing.assert_array_equal(
        np.asarray(Image.open(result.path)), (result.array * 255).round().astype(np.uint8)
    )


def test_a_resumed_run_spares_a_file_that_is_not_its_own(noisy_png: Path, quick: Preset) -> None:
    limited = restore(noisy_png, policy=quick, max_tools=0)
    assert limited.path is not None and limited.run_dir is not None
    limited.path.write_bytes(b"somebody's")
    result = resume(limited.run_dir, max_tools=3)
    assert limited.path.read_bytes() == b"somebody's"
    assert result.path == noisy_png.with_name("noisy.restored-2.png")
    assert result.path.exists()


def test_a_resumed_run_does_not_choose_another_name_than_it_was_given(
    noisy_png: Path, quick: Preset, tmp_path: Path
) -> None:
    limited = restore(noisy_png, policy=quick, max_tools=0, output=tmp_path / "out.png")
    assert limited.path is not None and limited.run_dir is not None
    limited.path.write_bytes(b"somebody's")
    with pytest.raises(OutputError, match="exists"):
        resume(limited.run_dir, max_tools=3)
    assert limited.path.read_bytes() == b"somebody's"


def test_an_input_that_changed_is_refused(
    noisy_png: Path, clean: np.ndarray, quick: Preset
) -> None:
    limited = restore(noisy_png, policy=quick, max_tools=0)
    Image.fromarray(clean).save(noisy_png)
    assert limited.run_dir is not None
    with pytest.raises(InputError, match="changed since"):
        resume(limited.run_dir, max_tools=3)


def test_an_input_that_the_run_replaced_itself_is_said_to_be(
    noisy_png: Path, quick: Preset
) -> None:
    result = restore(noisy_png, policy=quick, output=noisy_png, overwrite=True)
    assert result.run_dir is not None
    with pytest.raises(InputError, match="replaced by this run's result"):
        resume(result.run_dir)


def test_folders_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"request\.json"):
        resume(tmp_path)
    (tmp_path / "request.json").write_text("{")
    with pytest.raises(UsageError, match="does not read"):
        resume(tmp_path)


def test_a_finished_run_keeps_only_what_led_to_the_result(noisy_png: Path, quick: Preset) -> None:
    strict = quick.model_copy(
        update={"guards": quick.guards.model_copy(update={"structure": 1.0, "allowances": {}})}
    )
    result = restore(noisy_png, policy=strict)
    assert len(result.attempts) > 1
    assert not result.changed
    assert result.run_dir is not None
    assert list((result.run_dir / "artifacts").iterdir()) == []


def test_free_folders(tmp_path: Path) -> None:
    assert free_folder(tmp_path / "a.run") == tmp_path / "a.run"
    (tmp_path / "a.run").mkdir()
    assert free_folder(tmp_path / "a.run") == tmp_path / "a.run-2"
