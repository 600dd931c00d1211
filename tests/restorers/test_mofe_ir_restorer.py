"""MoFE-IR behind the contract: weights and guide, what prompts do, and that the planner leaves a restorer without weights alone."""

from pathlib import Path

import pytest
import torch

from conservator.policies.preferences import Preferences
from conservator.restorers import catalog
from conservator.restorers.card import Configuration
from conservator.restorers.degradations.vocabulary import Kind, Level
from conservator.restorers.errors import WeightsError
from conservator.restorers.guides.base import GuideEmbeddings
from conservator.restorers.guides.qwen import QwenGuide
from conservator.restorers.mofe_ir.card import CARD
from conservator.restorers.mofe_ir.network import MoFEIR
from conservator.restorers.mofe_ir.restorer import MoFEIRRestorer
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.restorers.prompts.mofe import QUESTION
from conservator.restorers.runner import Runner
from conservator.restorers.weights import save_weights
from tiny_mofe import TINY, write_weights

NOISY = RestorationPrompt.at_level(noise="high")


@pytest.fixture
def weights(tmp_path: Path, guide_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return write_weights(tmp_path / "tiny.safetensors", guide_folder, monkeypatch)


@pytest.fixture
def photo() -> torch.Tensor:
    return torch.rand(1, 3, 160, 192, generator=torch.Generator().manual_seed(0))


def test_the_prompt_is_the_question_and_the_answer(weights: Path) -> None:
    restorer = MoFEIRRestorer("compact", weights)
    assert restorer.render(RestorationPrompt(blind=True)) == QUESTION
    assert restorer.render(NOISY) == f"{QUESTION} high gaussian noise (sigma 30.0)."


def test_what_is_written_and_what_is_seen_change_the_result(
    weights: Path, photo: torch.Tensor
) -> None:
    runner = Runner(MoFEIRRestorer("compact", weights), device="cpu", dtype="float32")
    asked = runner.restore(photo, RestorationPrompt(blind=True))
    told = runner.restore(photo, NOISY)
    stronger = runner.restore(photo, RestorationPrompt.at_level(noise="very high"))
    assert asked.image.shape == photo.shape
    assert not torch.equal(asked.image, told.image)
    assert not torch.equal(told.image, stronger.image)
    assert len(told.details["routing"]) == TINY.experts
    assert len(told.details["weights_sha256"]) == 64
    again = runner.restore(photo, NOISY)
    assert torch.equal(again.image, told.image)


def test_another_picture_s_guidance_gives_another_result(
    weights: Path, photo: torch.Tensor
) -> None:
    restorer = MoFEIRRestorer("compact", weights)
    own = restorer.prepare(photo, NOISY, seed=0)
    wrong = restorer.guidance(photo, restorer.guide.embed(photo.flip(-1) ** 2, QUESTION))
    with torch.inference_mode():
        assert not torch.equal(
            restorer.restore_tile(photo, own), restorer.restore_tile(photo, wrong)
        )


def test_padded_samples_are_restored_as_alone(weights: Path, photo: torch.Tensor) -> None:
    restorer = MoFEIRRestorer("compact", weights)
    more = f"{QUESTION} high gaussian noise (sigma 30.0), low rain (value 5)."
    alone = [
        restorer.guide.embed(photo, QUESTION),
        restorer.guide.embed(photo.repeat(1, 1, 2, 2), more),
    ]
    both = GuideEmbeddings.stacked(alone)
    assert both.image_mask is not None
    assert both.joint_mask is not None
    with torch.inference_mode():
        together = restorer.model(photo.expand(2, -1, -1, -1), both)
        for row, given in enumerate(alone):
            torch.testing.assert_close(
                together[row : row + 1], restorer.model(photo, given), atol=1e-5, rtol=1e-5
            )


def test_tiles_share_one_look(weights: Path, photo: torch.Tensor) -> None:
    restorer = MoFEIRRestorer("compact", weights)
    assert isinstance(restorer.guide, QwenGuide)
    Runner(restorer, device="cpu", dtype="float32", tile=96).restore(photo, NOISY)
    assert len(restorer.guide.memory.kept) == 1


def test_weights_of_another_guide_are_refused(weights: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    save_weights(MoFEIR(TINY), other, {"guide_sha256": "0" * 64})
    with pytest.raises(WeightsError, match="trained with guide 000000000000"):
        MoFEIRRestorer("compact", other)


def test_a_guide_of_another_width_is_refused(weights: Path) -> None:
    class Narrow:
        width = 12

        def embed(self, image: torch.Tensor, text: str) -> GuideEmbeddings:
            raise AssertionError("a guide that does not fit is not asked")

    with pytest.raises(WeightsError, match="guide is 12 wide, 'compact' takes 256"):
        MoFEIRRestorer("compact", weights, Narrow())


def test_a_configuration_without_weights_says_so() -> None:
    with pytest.raises(WeightsError, match="mofe-ir ships no weights for 'paper'; train them"):
        catalog.load("mofe-ir", configuration="paper")


def test_the_planner_leaves_a_restorer_without_weights_alone() -> None:
    bare = CARD.model_copy(update={"configurations": {"compact": Configuration(parameters_m=8.7)}})
    table = Preferences(lead="llmra", gains={Kind.HAZE: {Level.HIGH: {"mofe-ir": 9.0}}})
    ranked = table.ranked(Kind.HAZE, Level.HIGH, {"mofe-ir": CARD})
    assert [option.restorer for option in ranked] == ["mofe-ir"]
    assert not table.ranked(Kind.HAZE, Level.HIGH, {"mofe-ir": bare})


def test_a_card_is_ready_with_weights_or_without_need_of_any() -> None:
    cards = catalog.cards()
    assert cards["llmra"].ready()
    assert cards["classical-nlm"].ready()
    assert not cards["classical-nlm"].ready("paper")
    assert not CARD.ready("paper")
    assert CARD.treats == tuple(Kind)
