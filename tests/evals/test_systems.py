"""Systems: names, options, prompts of the truth and of the inspection, ceilings, other people's programs."""

import sys
from pathlib import Path

import numpy as np
import pytest
from skimage import data

from conservator.evals.calling import called
from conservator.evals.ceiling import ceiling
from conservator.evals.fidelity import fidelity, sized_as
from conservator.evals.sample import Sample, SampleSpec
from conservator.evals.systems import NAMES, build, expanded
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.errors import (
    PromptError,
    RestorerError,
    UnknownNameError,
    UsageError,
)
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.tools.image_io import from_array, save


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    clean = data.coffee()[100:196, 200:328].astype(np.float32) / 255
    noise = np.random.default_rng(3).normal(0, 25 / 255, clean.shape)
    degraded = np.round(np.clip(clean + noise, 0, 1) * 255).astype(np.float32) / 255
    path = tmp_path_factory.mktemp("systems") / "in.png"
    save(from_array(np.round(degraded * 255).astype(np.uint8)), path)
    return Sample(
        spec=SampleSpec(sample_id="n/1", row="n", picture=str(path), recipe="noise:sigma=25"),
        degraded=degraded,
        clean=clean,
        truth=RestorationPrompt(degradations={Kind.NOISE: 25}),
        path=path,
    )


def psnr(sample: Sample, system: str) -> float:
    answer = build(system).answer(sample, seed=0, seconds=60)
    assert answer.image is not None
    assert sample.clean is not None
    return fidelity(answer.image, sample.clean).psnr


def test_a_restorer_told_the_truth_beats_one_told_a_lie(sample: Sample) -> None:
    untouched = psnr(sample, "untouched")
    true, false = psnr(sample, "llmra"), psnr(sample, "llmra:text=false")
    assert untouched == pytest.approx(20.4, abs=0.6)
    assert true > untouched + 4
    assert true > false + 2
    assert psnr(sample, "llmra:text=none") == untouched


def test_cem_has_nothing_to_correct_where_nothing_is_found(sample: Sample) -> None:
    clean = data.coffee()[:160, :160].astype(np.float32) / 255
    photo = Sample(sample.spec, clean, clean, RestorationPrompt(), sample.path)
    for system in ("llmra:text=inspected", "llmra:text=inspected,cem=yes"):
        answer = build(system).answer(photo, seed=0, seconds=60)
        assert answer.tools == 0
        assert psnr(photo, system) == 100
    noisy = build("llmra:text=inspected,cem=yes").answer(sample, seed=0, seconds=60)
    assert noisy.details["blind"]
    assert "noise" in noisy.details["prompt"]


def test_strength_is_a_factor_on_the_severity(sample: Sample) -> None:
    weak = build("classical-dct:strength=0.3").answer(sample, seed=0, seconds=60)
    asked = weak.details["prompt"]["noise"]
    assert asked < 12
    assert psnr(sample, "classical-dct:strength=0.3") < psnr(sample, "classical-dct")


def test_the_oracle_is_at_least_as_good_as_each_call(sample: Sample) -> None:
    oracle = psnr(sample, "oracle")
    for name in ("llmra", "classical-dct", "classical-bilateral", "classical", "untouched"):
        assert oracle >= psnr(sample, name) - 1e-6
    steps = build("oracle").answer(sample, seed=0, seconds=60).details["steps"]
    assert steps
    assert all("noise=25" in step for step in steps)


def test_the_ceiling_is_the_best_of_every_order(sample: Sample) -> None:
    """Two tools of a kind each, so that all treatments can be gone through by hand."""
    assert sample.clean is not None
    dark = np.round(sample.degraded * 0.6 * 255).astype(np.float32) / 255
    truth = {Kind.NOISE: 20.0, Kind.LOW_LIGHT: 0.8}
    both = Sample(
        sample.spec, dark, sample.clean, RestorationPrompt(degradations=truth), sample.path
    )
    tools = {
        "classical-dct": Kind.NOISE,
        "classical-bilateral": Kind.NOISE,
        "classical-gamma": Kind.LOW_LIGHT,
    }

    def after(*names: str) -> float:
        image = dark
        for name in names:
            kind = tools[name]
            image = called(name, image, RestorationPrompt(degradations={kind: truth[kind]}))
        assert sample.clean is not None
        return fidelity(image, sample.clean).psnr

    reached = [after(), *(after(one) for one in tools)]
    reached += [after(one, two) for one in tools for two in tools if tools[one] is not tools[two]]
    found = ceiling(tuple(tools), both, 0)
    assert found.image is not None
    assert fidelity(found.image, sample.clean).psnr == pytest.approx(max(reached), abs=1e-6)
    assert found.tools == len(found.details["steps"]) == 2


def test_each_restorer_stands_for_all_that_are_ready() -> None:
    names = expanded(["untouched", "each-restorer:text=inspected", "llmra:text=inspected"])
    assert names[:2] == ("untouched", "llmra:text=inspected")
    assert len(names) == len(set(names)) > 12
    assert "classical-dct:text=inspected" in names
    assert not any(name.startswith("community") for name in names)
    for name in names:
        build(name)
    assert expanded(["agent", "oracle", "agent"]) == ("agent", "oracle")
    with pytest.raises(UsageError, match="stands for several"):
        build("each-restorer")
    assert "each-restorer" not in NAMES


def test_a_random_order_is_of_the_seed(sample: Sample) -> None:
    assert sample.clean is not None
    dark = np.round(sample.degraded * 0.45 * 255).astype(np.float32) / 255
    both = Sample(sample.spec, dark, sample.clean, sample.truth, sample.path)
    orders = {
        tuple(build("random-order").answer(both, seed=seed, seconds=60).details["steps"])
        for seed in range(6)
    }
    assert len({len(order) for order in orders}) == 1
    assert len(orders) > 1
    kinds = [sorted(step.partition("(")[2].partition("=")[0] for step in o) for o in orders]
    assert all(found == kinds[0] for found in kinds)
    fixed = build("fixed-order").answer(both, seed=0, seconds=60).details["steps"]
    assert fixed == build("fixed-order").answer(both, seed=5, seconds=60).details["steps"]


def test_a_ceiling_takes_noise_off_before_it_brightens(sample: Sample) -> None:
    """Light gains most, but the noise that was brightened with it is hard to take off."""
    assert sample.clean is not None
    rng = np.random.default_rng(5)
    dark = (sample.clean * 0.6 + rng.normal(0, 25 / 255, sample.clean.shape)).astype(np.float32)
    degraded = (np.round(np.clip(dark, 0, 1) * 255) / 255).astype(np.float32)
    truth = RestorationPrompt(degradations={Kind.LOW_LIGHT: 0.8, Kind.NOISE: 25})
    both = Sample(sample.spec, degraded, sample.clean, truth, sample.path)
    steps = build("classical").answer(both, seed=0, seconds=60).details["steps"]
    assert ["noise" in step for step in steps] == [True, False]


def test_instruments_report_and_the_agent_tells_its_steps(sample: Sample) -> None:
    answer = build("instruments").answer(sample, seed=0, seconds=60)
    assert answer.image is None
    assert answer.report is not None
    noise = answer.report.finding(Kind.NOISE)
    assert noise is not None
    assert noise.value == pytest.approx(25, abs=6)
    agent = build("agent:policy=fast").answer(sample, seed=0, seconds=60)
    assert agent.tools >= 1
    assert agent.details["outcome"] in {"met", "not_met", "unchanged"}
    assert psnr(sample, "agent") > psnr(sample, "untouched")


def test_nothing_is_written_beside_the_pictures_under_test(sample: Sample) -> None:
    spec = sample.spec.model_copy(update={"recipe": ""})
    real = Sample(spec, sample.degraded, None, None, sample.path)
    before = sorted(sample.path.parent.iterdir())
    answer = build("agent:policy=fast").answer(real, seed=0, seconds=60)
    assert answer.details["steps"]
    assert sorted(sample.path.parent.iterdir()) == before


def test_orders_treat_each_kind_that_was_found(sample: Sample) -> None:
    for name in ("fixed-order", "random-order", "classical:text=inspected"):
        answer = build(name).answer(sample, seed=1, seconds=60)
        assert answer.tools == len(answer.details["steps"]) >= 1
        if name.startswith("classical"):
            assert all(step.startswith("classical-") for step in answer.details["steps"])
        again = build(name).answer(sample, seed=1, seconds=60)
        assert answer.details == again.details


def test_a_program_reads_and_writes_files(sample: Sample, tmp_path: Path) -> None:
    program = tmp_path / "invert.py"
    program.write_text(
        "import sys\nfrom PIL import Image, ImageOps\n"
        "ImageOps.invert(Image.open(sys.argv[1])).save(sys.argv[2])\n"
    )
    answer = build(f"command:{sys.executable} {program} {{in}} {{out}}").answer(
        sample, seed=0, seconds=60
    )
    assert answer.image is not None
    assert np.allclose(answer.image, 1 - sample.degraded, atol=1e-6)
    broken = build(f"command:{sys.executable} -c 'raise SystemExit(\"no model\")' {{in}} {{out}}")
    with pytest.raises(RestorerError, match="no model"):
        broken.answer(sample, seed=0, seconds=60)
    with pytest.raises(RestorerError, match="cannot run"):
        build("command:/no/such/program {in} {out}").answer(sample, seed=0, seconds=60)


def test_without_a_truth_only_systems_that_need_none_answer(sample: Sample) -> None:
    real = Sample(sample.spec, sample.degraded, None, None, sample.path)
    for name in ("llmra", "oracle", "classical"):
        with pytest.raises(PromptError):
            build(name).answer(real, seed=0, seconds=60)
    assert build("llmra:text=blind").answer(real, seed=0, seconds=60).image is not None


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("llmrra", UnknownNameError, "llmrra"),
        ("untouched:x=1", UsageError, "unknown option x"),
        ("llmra:text=maybe", UsageError, "text is one of"),
        ("llmra:strength=-1", UsageError, "above 0"),
        ("llmra:strength", UsageError, "option=value"),
        ("classical:text=seen", UsageError, "true or inspected"),
        ("command:cp {in} there", UsageError, "{out}"),
        ("agent:policy=fast,policy=fast", UsageError, "each once"),
    ],
)
def test_bad_names_are_refused(text: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        build(text)


def test_pictures_of_another_size_are_enlarged_to_the_reference() -> None:
    reference = data.coffee()[:128, :192].astype(np.float32) / 255
    small = reference[::2, ::2]
    assert sized_as(small, reference).shape == reference.shape
    assert sized_as(reference, reference) is reference
    assert fidelity(sized_as(small, reference), reference).psnr > 22
