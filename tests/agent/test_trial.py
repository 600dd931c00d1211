"""Rivals are tried on a piece of the photo; only the most promising one is made."""

import numpy as np
import pytest
import torch
from skimage import data
from skimage.metrics import peak_signal_noise_ratio

from conservator import RestorationResult, restore
from conservator.agent import measuring, trial
from conservator.policies.attempt import ToolCall
from conservator.policies.preferences import load_preferences
from conservator.policies.preset import Preset, load_preset
from conservator.policies.situation import Situation
from conservator.restorers import catalog
from conservator.restorers.degradations import synthesis
from conservator.restorers.degradations.recipe import Recipe, apply
from conservator.restorers.degradations.vocabulary import ConditionReport, Finding, Kind
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.tools.gain import Gain

NOISY = np.clip(
    data.astronaut()[:360, :480].astype(np.float32)
    + np.random.default_rng(0).normal(0, 28, (360, 480, 3)),
    0,
    255,
).astype(np.uint8)


@pytest.fixture(autouse=True)
def shipped_preferences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONSERVATOR_PREFERENCES")


def rivals(count: int, *steps: float) -> Preset:
    changed = {"candidates": count, "trial_steps": steps}
    return load_preset("balanced").model_copy(update=changed)


def expecting(monkeypatch: pytest.MonkeyPatch, *gains: float) -> list[tuple[int, ...]]:
    """The gain network says these, one after the other, on pieces; returns the shapes it was shown."""
    left, shapes = list(gains), list[tuple[int, ...]]()

    def said(before: np.ndarray, after: np.ndarray) -> Gain:
        shapes.append(after.shape)
        return Gain(psnr=left.pop(0), spread=0.5, ssim=0.0)

    monkeypatch.setattr(trial, "estimate_gain", said)
    return shapes


def test_the_most_promising_rival_is_the_only_one_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shapes = expecting(monkeypatch, 2.0, 4.5, 3.0)
    result = restore(NOISY, policy=rivals(3), max_tools=1)
    assert shapes == [(trial.PIECE, trial.PIECE, 3)] * 3
    (attempt,) = result.attempts
    assert result.spent.trials == 3
    assert result.spent.tools == 1
    first, *others = attempt.call.trial.split("; ")
    assert first == f"{attempt.call.words} +4.5 dB expected on a piece"
    assert {other.split()[-1] for other in others} == {"+3.0", "+2.0"}


def test_the_first_choice_yields_to_a_clear_difference_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    margin = rivals(2).rival_margin
    expecting(monkeypatch, 3.0, 2.9 + margin)
    (near,) = restore(NOISY, policy=rivals(2), max_tools=1).attempts
    expecting(monkeypatch, 3.0, 3.1 + margin)
    (clear,) = restore(NOISY, policy=rivals(2), max_tools=1).attempts
    assert (near.call.restorer, clear.call.restorer) == ("llmra", "mofe-ir")


def test_the_most_promising_rival_is_tried_at_other_strengths(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expecting(monkeypatch, 3.0, 2.0, 2.9, 3.4)
    result = restore(NOISY, policy=rivals(2, -0.15, 0.15), max_tools=1)
    (attempt,) = result.attempts
    measured = result.before.finding(Kind.NOISE)
    assert measured is not None
    assert attempt.call.restorer == "llmra"
    assert attempt.call.prompt.degradations[Kind.NOISE] > 1.2 * measured.value
    assert attempt.call.trial.startswith(f"{attempt.call.words} +3.4 dB")
    assert result.spent.trials == 4
    # No better at other strengths: as it was.
    expecting(monkeypatch, 3.0, 2.0, 2.9, 2.8)
    (attempt,) = restore(NOISY, policy=rivals(2, -0.15, 0.15), max_tools=1).attempts
    assert attempt.call.prompt.degradations[Kind.NOISE] == pytest.approx(measured.value, abs=0.05)


def test_a_step_that_is_refused_alone_is_judged_with_what_was_to_follow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clean = torch.from_numpy(data.astronaut()[:360, :480].copy()).permute(2, 0, 1)[None] / 255
    moved = synthesis.motion_blur(clean, [5.0], [20.0])
    blocky = synthesis.quantise8(synthesis.jpeg(moved, [20.0]))[0].permute(1, 2, 0).numpy()
    made, calls = trial._made, list[ToolCall]()

    def counted(call: ToolCall, *rest: object) -> object:
        calls.append(call)
        return made(call, *rest)

    def promising_together(*_: object, **__: object) -> Gain:
        steps = len(calls)
        calls.clear()
        return Gain(psnr=9.0 if steps > 1 else 0.0, spread=0.5, ssim=0.0)

    def treated(*gains: float) -> RestorationResult:
        left = list(gains)
        monkeypatch.setattr(
            measuring,
            "estimate_gain",
            lambda *_, **__: Gain(psnr=left.pop(0), spread=0.5, ssim=0.0),
        )
        return restore(blocky, policy=rivals(3), max_tools=len(gains))

    monkeypatch.setattr(trial, "_made", counted)
    monkeypatch.setattr(trial, "estimate_gain", promising_together)
    result = treated(-1.0, 5.0)
    first, second = result.attempts
    assert not first.accepted
    assert first.call.then
    assert f"judged together with {second.call.words}, which follows" in first.verdict.reason
    assert second.call.source == first.id
    assert [step.id for step in result.steps] == [first.id, second.id]
    assert second.measurement.gain.psnr == pytest.approx(4.0)
    # Not worth it together either: the input stays.
    result = treated(-1.0, -1.0)
    assert len(result.attempts) == 2
    assert result.steps == ()


def test_rivals_from_different_nodes_are_compared_from_the_original_on() -> None:
    prompt = RestorationPrompt(degradations={Kind.NOISE: 25.0})
    first, later, other = (
        ToolCall(restorer="llmra", prompt=prompt, source=node) for node in ("original", "a1", "a1")
    )
    assert trial._start([later, other]) == "a1"
    assert trial._start([later, first]) == "original"


def test_strengths_that_nobody_hears_or_that_the_user_has_set_are_not_searched() -> None:
    preset = rivals(2, -0.15, 0.15)
    report = ConditionReport(
        findings=(Finding(kind=Kind.NOISE, value=25, confidence=0.9, source="instrument"),)
    )
    situation = Situation(
        report=report, preset=preset, preferences=load_preferences(), cards=catalog.cards()
    )

    def doses(restorer: str, **changed: object) -> list[float]:
        prompt = RestorationPrompt(degradations={Kind.NOISE: 25.0})
        call = ToolCall(restorer=restorer, prompt=prompt)
        found = trial._doses(call, situation.model_copy(update=changed))
        return [dose.prompt.degradations[Kind.NOISE] for dose in found]

    less, more = doses("llmra")
    assert less < 25 < more
    assert doses("llmra", settled=frozenset({Kind.NOISE})) == []
    assert doses("lm4lv") == []


def test_without_rivals_nothing_is_tried() -> None:
    result = restore(NOISY, policy=rivals(1))
    assert result.spent.trials == 0
    assert all(attempt.call.trial == "" for attempt in result.attempts)


def test_a_picture_too_small_to_tell_is_treated_without_a_trial() -> None:
    tiny = NOISY[:24, :200]
    asked = {"policy": rivals(3), "targets": "noise<=low", "max_tools": 2}
    result = restore(tiny, **asked)
    assert result.spent.trials == 0
    assert result.spent.tools == len(result.attempts) <= 2


def test_a_dry_run_tries_nothing() -> None:
    result = restore(NOISY, policy=rivals(3), dry_run=True)
    assert result.spent.trials == result.spent.tools == 0
    assert len(result.planned) == 3


def test_a_rival_that_fails_is_recorded_and_the_next_one_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from conservator.restorers.errors import RestorerError
    from conservator.restorers.llmra.restorer import LLMRARestorer

    def broken(*_: object, **__: object) -> None:
        raise RestorerError("out of order")

    monkeypatch.setattr(LLMRARestorer, "restore_tile", broken)
    result = restore(NOISY, policy=rivals(2))
    failed = [a for a in result.attempts if a.status == "failed"]
    assert [a.call.restorer for a in failed] == ["llmra"]
    assert "out of order" in failed[0].error
    assert result.steps
    assert all(step.call.restorer != "llmra" for step in result.steps)


def test_a_follower_that_fails_does_not_count_against_its_candidate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dark = (NOISY * 0.35).astype(np.uint8)
    made = trial._made

    def some(call: ToolCall, *rest: object) -> object:
        return None if call.restorer == "classical-gamma" else made(call, *rest)

    monkeypatch.setattr(trial, "_made", some)
    result = restore(dark, policy=rivals(3), max_tools=1)
    (attempt,) = result.attempts
    assert attempt.call.trial
    assert "classical-gamma" not in attempt.call.trial


def test_time_that_runs_out_in_a_trial_is_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    def slow(*_: object, **__: object) -> Gain:
        time.sleep(1.2)
        return Gain(psnr=3.0, spread=0.5, ssim=0.0)

    restore(NOISY[:64, :64], policy=rivals(1))
    monkeypatch.setattr(trial, "estimate_gain", slow)
    result = restore(NOISY, policy=rivals(3), max_seconds=2.0)
    assert result.limit == "seconds"
    assert np.array_equal(result.array, NOISY.astype(np.float32) / 255) or result.steps


def test_a_photo_that_only_moved_is_deconvolved() -> None:
    photo = torch.from_numpy(data.astronaut()[:360, :440].astype(np.float32) / 255)
    clean = photo.permute(2, 0, 1)[None]
    made = apply(clean, Recipe.parse("motion_blur:sigma=3").draw(7, *clean.shape[-2:]))
    moved = (made[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    result = restore(moved)
    (step,) = result.steps
    assert step.call.restorer == "classical-motion"
    truth = data.astronaut()[:360, :440]
    before, after = (
        peak_signal_noise_ratio(truth, np.asarray(x, np.uint8)) for x in (moved, result.image)
    )
    assert after > before + 3
