"""What a vision-language model sees, alone and with the instruments, as a system of the perception task."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from conservator.evals.perceivers import Perceiver
from conservator.evals.sample import Sample, SampleSpec
from conservator.evals.scorers import score
from conservator.evals.systems import build
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.errors import BackendMissingError, UnknownNameError, UsageError
from conservator.restorers.prompts.model import RestorationPrompt
from scripted_chat import ScriptedChat, pictures, questions, says

RAIN = says(
    tokens=70,
    scene="an astronaut",
    degradations=[{"kind": "rain", "level": "high", "value": 75, "confidence": 0.9}],
)


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    clean = np.ascontiguousarray(data.astronaut()[20:180, 140:300])
    noise = np.random.default_rng(5).normal(0, 25, clean.shape)
    noisy = np.clip(clean + noise, 0, 255).round().astype(np.uint8)
    path = tmp_path / "noisy.png"
    Image.fromarray(noisy).save(path)
    return Sample(
        spec=SampleSpec(
            sample_id="noise/a", row="noise", picture=str(path), recipe="noise:sigma=25"
        ),
        degraded=noisy.astype(np.float32) / 255,
        clean=clean.astype(np.float32) / 255,
        truth=RestorationPrompt(degradations={Kind.NOISE: 25}),
        path=path,
    )


def test_alone_it_is_scored_on_what_it_says(sample: Sample) -> None:
    model = ScriptedChat(RAIN)
    answer = Perceiver(lambda: model, alone=True).answer(sample, seed=0, seconds=60)
    assert answer.report is not None
    assert [f.kind for f in answer.report.present()] == [Kind.RAIN]
    assert "Readings" not in questions(model.asked[0])
    assert (answer.vlm_calls, answer.tokens) == (1, 70)
    _, findings = score(["perception"], answer, sample)
    assert findings["noise"] == {"true": 25, "said": 0, "confidence": 0.7}
    assert findings["rain"]["said"] == 75
    # What it does not name it denies, so that false alarms are a share of all pictures.
    assert set(findings) == {kind.value for kind in Kind}


def test_with_the_instruments_it_is_the_agents_report(sample: Sample) -> None:
    model = ScriptedChat(RAIN)
    answer = Perceiver(lambda: model, alone=False).answer(sample, seed=0, seconds=60)
    assert answer.report is not None
    noise = answer.report.finding(Kind.NOISE)
    assert noise is not None
    assert noise.source == "instrument"
    assert noise.value == pytest.approx(25, abs=6)
    assert "Readings: noise" in questions(model.asked[0])
    assert next(pictures(model.asked[0])).shape == (160, 160, 3)


def test_nonsense_counts_as_seeing_nothing(sample: Sample) -> None:
    wrong = says(weather="fine")
    alone = Perceiver(lambda: ScriptedChat(wrong, wrong), alone=True)
    answer = alone.answer(sample, seed=0, seconds=60)
    assert answer.report is not None
    assert answer.report.present() == ()
    assert answer.details["status"] == "refused"
    joint = Perceiver(lambda: ScriptedChat(wrong, wrong), alone=False)
    report = joint.answer(sample, seed=0, seconds=60).report
    assert report is not None
    assert report.finding(Kind.NOISE) is not None


def test_a_model_that_is_gone_is_an_error_and_each_sample_asks_anew(sample: Sample) -> None:
    model = ScriptedChat()
    gone = Perceiver(lambda: model, alone=True)
    for _ in range(3):
        with pytest.raises(BackendMissingError, match="the server is gone"):
            gone.answer(sample, seed=0, seconds=60)
    assert len(model.asked) == 3
    with pytest.raises(BackendMissingError):
        gone.warm()


def test_systems_are_named_and_checked() -> None:
    for text in ("vlm", "instruments+vlm", "vlm:model=embedded", "vlm:model=http://127.0.0.1:1/v1"):
        assert isinstance(build(text), Perceiver)
    with pytest.raises(UnknownNameError, match="gpt"):
        build("vlm:model=gpt")
    with pytest.raises(UnknownNameError, match="gpt"):
        build("agent:vlm=gpt")
    with pytest.raises(UsageError, match="policy"):
        build("vlm:policy=fast")
    with pytest.raises(UsageError, match="no vision-language model"):
        build("vlm:model=none").warm()
