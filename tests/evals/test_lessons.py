"""What an eval run teaches."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from conservator.evals.lessons import lessons_of_run
from conservator.evals.log import RunFolder, slug
from conservator.evals.sample import AnswerRecord
from conservator.policies.cases import Case, CaseFile, Learned, Step
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.errors import UsageError

SEEN = {"seen": "noise 0.62 0.93,jpeg 0.3 0.5", "side": 96}


def record(system: str, psnr: float, **details: object) -> AnswerRecord:
    return AnswerRecord(
        sample_id="A5/a.png",
        system=system,
        row="A5",
        digest=f"{system}{psnr}",
        scores={"psnr": psnr},
        details=details,
    )


def folder_of(path: Path, *records: AnswerRecord) -> Path:
    run = RunFolder.create(path, {"task": {"id": "mio16", "version": 1}})
    run.append(records)
    return path


def cases(path: Path) -> dict[str, Case]:
    return {one.name.partition(", ")[2]: one.cases[0] for one in lessons_of_run(path)}


def test_each_known_treatment_is_a_case_with_its_true_gain(tmp_path: Path) -> None:
    run = folder_of(
        tmp_path / "run",
        record("untouched", 20.0),
        record(
            "agent",
            25.5,
            condition=SEEN,
            steps=[
                "llmra(noise=25, jpeg=20) on original, 60% blended",
                "classical-dct(noise=9) on a1",
            ],
        ),
        record("fixed-order", 24.0, steps=["classical-dct(noise=25.1)"]),
        record("mofe-ir:text=blind", 23.0, prompt={}, blind=True),
        record("inspected", 26.0, prompt={"jpeg": 20.0, "noise": 25.0}, blind=False),
        # Led by the clean picture, with other weights, or without steps: nothing to learn.
        record("oracle", 30.0, steps=["llmra(noise=25)"]),
        record("classical", 24.5, steps=["classical-dct(noise=25)"]),
        record("llmra:weights=trial.safetensors", 27.0, prompt={"noise": 25.0}),
        record("agent:policy=archival", 20.0, steps=[]),
    )
    found = cases(run)
    assert set(found) == {"agent", "fixed-order", "mofe-ir:text=blind", "inspected"}
    agent = found["agent"]
    assert agent.gain == pytest.approx(5.5)
    assert agent.error == 0
    assert agent.condition.sure == (Kind.NOISE, Kind.JPEG)
    assert agent.steps == (
        Step("llmra", ((Kind.NOISE, 25.0), (Kind.JPEG, 20.0)), blend=0.6),
        Step("classical-dct", ((Kind.NOISE, 9.0),)),
    )
    assert found["mofe-ir:text=blind"].steps == (Step("mofe-ir", (), others=True),)
    assert found["inspected"].steps[0].restorer == "llmra"
    # The agent's inspection holds for all answers to the sample.
    assert len({id(case.condition) for case in found.values()}) == 1


def test_a_run_that_went_on_adds_what_is_new(tmp_path: Path) -> None:
    run = folder_of(
        tmp_path / "run",
        record("untouched", 20.0),
        record("agent", 25.0, condition=SEEN, steps=["llmra(noise=25) on original"]),
    )
    file = CaseFile(tmp_path / "e.sqlite")
    assert file.learn(lessons_of_run(run)) == Learned(lessons=1, cases=1)
    RunFolder.open(run).append([record("fixed-order", 24.0, steps=["classical-dct(noise=25)"])])
    assert file.learn(lessons_of_run(run)) == Learned(lessons=1, known=1, cases=1)


def test_without_a_condition_the_kept_picture_is_inspected(tmp_path: Path) -> None:
    run = folder_of(
        tmp_path / "run",
        record("untouched", 20.0),
        record("llmra", 25.0, prompt={"noise": 30.0}),
    )
    assert list(lessons_of_run(run)) == []
    picture = run / "images" / slug("A5") / slug("a.png") / "degraded.png"
    picture.parent.mkdir(parents=True)
    noise = np.random.default_rng(0).normal(128, 40, (96, 120, 3)).clip(0, 255)
    cv2.imwrite(str(picture), noise.astype(np.uint8))
    case = cases(run)["llmra"]
    assert case.condition.side == 96
    assert Kind.NOISE in case.condition.sure


def test_a_run_without_an_untouched_input_teaches_nothing(tmp_path: Path) -> None:
    run = folder_of(
        tmp_path / "run", record("agent", 25.0, condition=SEEN, steps=["llmra(noise=25)"])
    )
    assert list(lessons_of_run(run)) == []
    with pytest.raises(UsageError, match="not a run folder"):
        list(lessons_of_run(tmp_path))
