"""SPIRE as a system: its modes, captions, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conservator.evals.drawing import Mode, caption_of, mode_of
from conservator.evals.sample import Sample, SampleSpec
from conservator.evals.systems import build
from conservator.restorers import catalog
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.errors import PromptError, UsageError, WeightsError
from conservator.restorers.prompts.model import RestorationPrompt
from tiny_spire import write_weights


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        Image.fromarray(rng.integers(0, 255, (48, 64, 3), np.uint8)).save(tmp_path / name)
    (tmp_path / "manifest.csv").write_text("file,caption\na.png,cat\nb.png,zebra\nc.png,\n")
    pixels = np.asarray(Image.open(tmp_path / "a.png"), np.float32) / 255
    return Sample(
        spec=SampleSpec(sample_id="n/1", row="n", picture=str(tmp_path / "a.png"), recipe="spire"),
        degraded=pixels,
        clean=pixels,
        truth=RestorationPrompt(degradations={Kind.NOISE: 15.3}),
        path=tmp_path / "a.png",
    )


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    catalog.unload()
    return write_weights(tmp_path / "tiny.safetensors", monkeypatch)


def test_every_mode_gives_its_own_picture(sample: Sample, weights: Path) -> None:
    answers = []
    for options in (
        "text=true",
        "text=types",
        "text=blind",
        "semantic=own",
        "semantic=other",
        "text=blind,semantic=own",
        "say=Denoise with sigma 0.24;",
        "steps=2",
        "fidelity=0",
        "start=noise",
        "strength=1.6",
    ):
        answer = build(f"spire:{options},weights={weights}").answer(sample, seed=0, seconds=60)
        assert answer.tools == 1
        assert answer.image is not None
        assert answer.image.shape == sample.degraded.shape
        answers.append(answer.image)
    for i, one in enumerate(answers):
        assert not any(np.array_equal(one, other) for other in answers[:i])


def test_what_is_said_replaces_the_truth(sample: Sample, weights: Path) -> None:
    said = build(f"spire:say=Dejpeg with quality 40;,weights={weights}")
    answer = said.answer(sample, seed=0, seconds=60)
    assert answer.details["prompt"] == {"jpeg": 40.0}
    assert build("llmra:say=denoise").answer(sample, seed=0, seconds=60).details["prompt"] == {
        "noise": 15.0
    }


def test_captions_come_from_the_folder(sample: Sample) -> None:
    assert caption_of(sample, "own") == "a photo of a cat"
    assert caption_of(sample, "other") == "a photo of a zebra"
    assert caption_of(sample, "none") == ""
    elsewhere = sample.spec.model_copy(update={"picture": "/nowhere/a.png"})
    with pytest.raises(PromptError, match=r"needs a manifest\.csv"):
        caption_of(Sample(elsewhere, sample.degraded, None, None, sample.path), "own")


def test_modes_are_taken_out_of_the_options() -> None:
    options = {"semantic": "own", "steps": "8", "start": "noise", "seed": "1"}
    assert mode_of("spire", "types", options) == Mode(
        False, "own", (("steps", 8), ("start", "noise"))
    )
    assert options == {"seed": "1"}


@pytest.mark.parametrize(
    ("system", "named"),
    [
        ("llmra:text=types", "are spire's"),
        ("llmra:semantic=own", "are spire's"),
        ("spire:semantic=mine", "semantic is one of"),
        ("spire:steps=many", "is no number"),
        ("spire:steps=0", "steps=0"),
        ("spire:say=hello there", "asks for nothing"),
    ],
)
def test_what_makes_no_sense_is_refused(system: str, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        build(system)


def test_without_weights_an_answer_fails_in_one_line(sample: Sample) -> None:
    catalog.unload()
    for system in ("spire:configuration=paper", "spire:text=types,configuration=paper"):
        with pytest.raises(WeightsError, match="spire ships no weights for 'paper'"):
            build(system).answer(sample, seed=0, seconds=60)
