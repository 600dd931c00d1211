"""`restore` end to end on real instruments and a real classical restorer."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import conservator
from conservator import Kind, Level, RestorationResult, restore
from conservator.agent import events
from conservator.agent.errors import (
    InputError,
    MissingFileError,
    NotAnImageError,
    OutputError,
    PromptError,
    UnknownNameError,
    UsageError,
)
from conservator.policies.preset import Preset
from conservator.restorers import catalog
from conservator.tools.compare import compare
from conservator.tools.image_io import load
from conservator.tools.instruments import measure


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((a.astype(float) / 255 - b.astype(float) / 255) ** 2)))


def test_restores_a_noisy_photo_and_documents_it(
    noisy_png: Path, clean: np.ndarray, noisy: np.ndarray, quick: Preset
) -> None:
    heard: list[events.Event] = []
    before = noisy_png.read_bytes()
    result = restore(noisy_png, policy=quick, on_event=heard.append)

    assert result.outcome in ("met", "not_met")
    assert result.path == noisy_png.with_name("noisy.restored.png")
    saved = np.asarray(Image.open(result.path).convert("RGB"))
    assert psnr(saved, clean) > psnr(noisy, clean) + 2
    assert noisy_png.read_bytes() == before

    finding = result.before.finding(Kind.NOISE)
    after = result.after.finding(Kind.NOISE)
    assert finding is not None and after is not None
    assert finding.level >= Level.MEDIUM > after.level

    assert result.run_dir is not None
    names = {path.name for path in result.run_dir.iterdir()}
    assert {"report.json", "recipe.json", "sheet.png", "checkpoints.sqlite"} <= names
    assert not [name for name in names if name.endswith(".part")]
    report = json.loads((result.run_dir / "report.json").read_text())
    assert report["outcome"] == result.outcome
    assert report["timing"]["parts"]["node.act"] > 0
    assert report["attempts"][0]["verdict"]["checks"]
    assert [type(event).__name__ for event in heard if type(event) is not events.ToolProgressed][
        :7
    ] == [
        "RunStarted",
        "Inspected",
        "Planned",
        "ToolStarted",
        "ToolFinished",
        "Scored",
        "Judged",
    ]
    assert isinstance(heard[-1], events.RunFinished)
    assert heard[-1].result is result
    assert [event.at_s for event in heard] == sorted(event.at_s for event in heard)


def test_what_was_measured_is_what_was_saved(whole: RestorationResult, noisy_png: Path) -> None:
    assert whole.path is not None
    saved = load(whole.path).pixels
    measurement = whole.steps[-1].measurement
    assert measurement is not None
    assert measurement.findings == measure(saved)
    assert measurement.guards == compare(load(noisy_png).pixels, saved)
    np.testing.assert_array_equal(saved, whole.array)


def test_jpeg_output_is_measured_after_coding(
    tmp_path: Path, noisy_png: Path, quick: Preset
) -> None:
    result = restore(noisy_png, policy=quick, output=tmp_path / "out.jpg")
    assert result.changed and result.path is not None
    measurement = result.steps[-1].measurement
    assert measurement is not None
    assert measurement.findings == measure(load(result.path).pixels)


def test_a_photo_with_nothing_to_treat_comes_back_byte_for_byte(
    tmp_path: Path, clean: np.ndarray, quick: Preset
) -> None:
    path = tmp_path / "clean.jpg"
    Image.fromarray(clean).save(path, quality=97)
    result = restore(path, policy=quick)
    assert (result.outcome, result.best, result.changed) == ("unchanged", "original", False)
    assert result.path is not None
    assert result.path.read_bytes() == path.read_bytes()
    assert result.spent.tools == 0
    assert result.recipe.steps == ()
    assert result.after == result.before


def test_arrays_and_pil_images_leave_no_files(
    noisy: np.ndarray, quick: Preset, surroundings: Path
) -> None:
    runs = surroundings / "runs"
    before = set(runs.iterdir()) if runs.exists() else set()
    by_array = restore(noisy, policy=quick)
    by_pil = restore(Image.fromarray(noisy), policy=quick)
    assert by_array.path is None and by_array.run_dir is None
    assert set(runs.iterdir()) == before
    np.testing.assert_array_equal(by_array.array, by_pil.array)
    assert by_array.image.size == (160, 160)
    assert by_array.image.mode == "RGB"


def test_the_same_request_gives_the_same_picture(
    noisy_png: Path, quick: Preset, whole: RestorationResult
) -> None:
    again = restore(noisy_png, policy=quick)
    np.testing.assert_array_equal(again.array, whole.array)
    assert again.recipe == whole.recipe
    assert again.path is not None and whole.path is not None
    assert again.path.read_bytes() == whole.path.read_bytes()


def test_dry_run_plans_and_writes_nothing(noisy_png: Path, quick: Preset) -> None:
    result = restore(noisy_png, policy=quick, dry_run=True)
    assert result.outcome == "unchanged"
    assert [call.restorer for call in result.planned] == ["classical-nlm"]
    assert result.planned[0].prompt.degradations[Kind.NOISE] == pytest.approx(25, rel=0.3)
    assert list(noisy_png.parent.iterdir()) == [noisy_png]


@pytest.mark.parametrize("limits", [{"max_tools": 0}, {"max_seconds": 0.0}])
def test_a_limit_is_an_outcome(noisy_png: Path, quick: Preset, limits: dict) -> None:
    heard: list[events.Event] = []
    result = restore(noisy_png, policy=quick, on_event=heard.append, **limits)
    assert result.outcome == "limit"
    assert result.limit == next(iter(limits)).removeprefix("max_")
    assert "limit of 0" in result.reason
    assert result.path is not None
    assert result.path.read_bytes() == noisy_png.read_bytes()
    assert any(isinstance(event, events.LimitReached) for event in heard)


def test_targets_that_are_not_met_are_named(noisy_png: Path, quick: Preset) -> None:
    result = restore(noisy_png, policy=quick, targets="noise<=low,fidelity>=1")
    assert result.outcome == "not_met"
    assert any(line.startswith("fidelity>=1:") for line in result.blocking)
    assert "fidelity>=1" in result.reason


def test_targets_that_are_met(noisy_png: Path, quick: Preset) -> None:
    result = restore(noisy_png, policy=quick, targets="noise<=low,fidelity>=0.3")
    assert result.outcome == "met"
    assert result.blocking == ()


def test_cancelled_before_it_begins_it_keeps_the_input(noisy_png: Path, quick: Preset) -> None:
    stop = threading.Event()
    stop.set()
    result = restore(noisy_png, policy=quick, cancel=stop)
    assert result.outcome == "cancelled"
    assert result.path is None
    assert result.attempts == ()


def test_a_keyboard_interrupt_keeps_the_best_so_far(noisy_png: Path, quick: Preset) -> None:
    def interrupt(event: events.Event) -> None:
        if isinstance(event, events.Planned) and event.calls == ():
            raise KeyboardInterrupt

    result = restore(noisy_png, policy=quick, on_event=interrupt)
    assert result.outcome == "cancelled"
    assert result.best == "a1"
    assert result.path is not None
    assert result.path.read_bytes() != noisy_png.read_bytes()


def test_transparency_and_depth_survive(tmp_path: Path, noisy: np.ndarray, quick: Preset) -> None:
    alpha = np.tile(np.linspace(0, 255, 160).astype(np.uint8), (160, 1))
    path = tmp_path / "see-through.png"
    Image.fromarray(np.dstack([noisy, alpha])).save(path)
    result = restore(path, policy=quick)
    assert result.changed and result.path is not None
    written = Image.open(result.path)
    assert written.mode == "RGBA"
    np.testing.assert_array_equal(np.asarray(written)[..., 3], alpha)
    assert result.image.mode == "RGBA"


def test_sixteen_bits_stay_sixteen_bits(noisy: np.ndarray, quick: Preset) -> None:
    deep = noisy.astype(np.uint16) * 257
    result = restore(deep, policy=quick)
    assert result.changed
    steps = np.unique((result.array * 65535).round().astype(int) % 257)
    assert len(steps) > 1


def test_a_restorer_that_fails_is_a_failed_attempt(
    noisy: np.ndarray, quick: Preset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    table = tmp_path / "table.yaml"
    table.write_text("lead: llmra-broken\ngains: {}\n")
    monkeypatch.setenv("CONSERVATOR_PREFERENCES", str(table))
    monkeypatch.setattr(catalog, "_registered", {})
    home = "tests_agent_broken_restorer"
    (tmp_path / f"{home}.py").write_text(
        "from conservator.restorers.card import Configuration, RestorerCard\n"
        "from conservator.restorers.degradations.vocabulary import Kind\n"
        "from conservator.restorers.errors import WeightsError\n"
        "CARD = RestorerCard(name='llmra-broken', title='b', treats=(Kind.NOISE,),\n"
        "                    configurations={'compact': Configuration()})\n"
        "def build(configuration, path):\n"
        "    raise WeightsError('no weights here; train them')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    catalog.register("llmra-broken", catalog.Entry(f"{home}:CARD", f"{home}:build"))
    result = restore(noisy, policy=quick)
    first, second = result.attempts[:2]
    assert (first.status, first.error) == ("failed", "no weights here; train them")
    assert second.call.restorer != "llmra-broken"


@pytest.mark.parametrize(
    ("arguments", "error", "named"),
    [
        ({"policy": "careful"}, UnknownNameError, "careful"),
        ({"device": "toaster"}, UnknownNameError, "toaster"),
        ({"targets": "noise<=tiny"}, UnknownNameError, "tiny"),
        ({"targets": "noise"}, PromptError, "noise"),
        ({"output": "out.xyz"}, UnknownNameError, "xyz"),
        ({"output": "nowhere/out.png"}, OutputError, "nowhere"),
        ({"output": "noisy.png"}, OutputError, "exists"),
    ],
)
def test_wrong_requests_leave_nothing_behind(
    noisy_png: Path,
    arguments: dict,
    error: type[Exception],
    named: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(noisy_png.parent)
    with pytest.raises(error, match=named) as caught:
        restore(noisy_png, **arguments)
    assert "\n" not in str(caught.value)
    assert list(noisy_png.parent.iterdir()) == [noisy_png]


def test_wrong_inputs_are_typed(tmp_path: Path) -> None:
    text = tmp_path / "letter.jpg"
    text.write_text("Dear conservator")
    with pytest.raises(NotAnImageError):
        restore(text)
    with pytest.raises(MissingFileError):
        restore(tmp_path / "missing.png")
    with pytest.raises(InputError, match="dict"):
        restore({})
    assert list(tmp_path.iterdir()) == [text]


@pytest.mark.parametrize("made", [True, False])
def test_a_failure_before_the_first_candidate_leaves_no_folder(
    noisy_png: Path, quick: Preset, monkeypatch: pytest.MonkeyPatch, made: bool
) -> None:
    folder = noisy_png.parent / "run"
    if not made:
        folder.mkdir()
    monkeypatch.setenv("CONSERVATOR_PREFERENCES", str(noisy_png))
    with pytest.raises(UsageError, match="preferences"):
        restore(noisy_png, policy=quick, run_dir=folder)
    assert folder.exists() is not made
    assert made or not any(folder.iterdir())


def test_a_run_folder_that_is_not_empty_is_refused(noisy_png: Path, quick: Preset) -> None:
    with pytest.raises(UsageError, match="not empty"):
        restore(noisy_png, policy=quick, run_dir=noisy_png.parent)


def test_overwrite_replaces_the_input(noisy_png: Path, quick: Preset) -> None:
    before = noisy_png.read_bytes()
    result = restore(noisy_png, policy=quick, output=noisy_png, overwrite=True)
    assert result.path == noisy_png
    assert noisy_png.read_bytes() != before


def test_inspect_changes_nothing(noisy_png: Path, noisy: np.ndarray) -> None:
    report = conservator.inspect(noisy_png)
    finding = report.finding(Kind.NOISE)
    assert finding is not None and finding.level >= Level.MEDIUM
    assert conservator.inspect(noisy) == report
    assert list(noisy_png.parent.iterdir()) == [noisy_png]


def test_notebooks(whole: RestorationResult) -> None:
    page = whole._repr_html_()
    assert "classical-nlm" in page
    assert "noise" in page
    assert whole._repr_png_().startswith(b"\x89PNG")
    with pytest.raises(AttributeError):
        whole.outcome = "met"  # type: ignore[misc]
