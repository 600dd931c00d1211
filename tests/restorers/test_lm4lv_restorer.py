"""LM4LV behind the contract: tiles, tasks, the two additions, and whom it refuses."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from conservator.agent.cli.exit_code import ExitCode
from conservator.agent.cli.main import main
from conservator.policies.preferences import load_preferences
from conservator.restorers import catalog
from conservator.restorers.degradations import synthesis
from conservator.restorers.degradations.vocabulary import Kind, Level
from conservator.restorers.errors import PromptError, WeightsError
from conservator.restorers.lm4lv.card import CARD
from conservator.restorers.lm4lv.config import CONFIGS, LM4LVConfig
from conservator.restorers.lm4lv.language import MODELS, LanguageModel, fingerprint
from conservator.restorers.lm4lv.network import LM4LV
from conservator.restorers.lm4lv.restorer import KEEPS_DETAIL, ORDER, LM4LVRestorer
from conservator.restorers.prompts.lm4lv import TASKS
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.restorers.runner import Runner
from conservator.restorers.tiling import spans
from conservator.restorers.training.validation import psnr
from conservator.restorers.weights import save_weights
from tiny_lm4lv import TINY, network, write_llm, write_weights

NOISE = RestorationPrompt(degradations={Kind.NOISE: 25})


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llm(tmp_path_factory.mktemp("llm") / "llama")


@pytest.fixture
def weights(tmp_path: Path, llm: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return write_weights(tmp_path / "tiny.safetensors", llm, monkeypatch)


@pytest.fixture
def picture() -> torch.Tensor:
    return torch.rand(1, 3, 52, 75, generator=torch.Generator().manual_seed(0))


# ── the card ────────────────────────────────────────────────────────────────


def test_it_is_called_by_name_only() -> None:
    """It takes a minute a megapixel, for what others do in a second or two."""
    assert catalog.card("lm4lv") is CARD
    assert CARD.ready()
    assert not CARD.ready("paper")
    assert "research path" in CARD.title
    assert "low-frequency" in CARD.title
    assert set(TASKS.values()) <= set(CARD.treats)
    table = load_preferences()
    for kind in CARD.treats:
        ranked = table.ranked(kind, Level.HIGH, catalog.cards())
        assert "lm4lv" not in [option.restorer for option in ranked]


def test_the_shipped_weights_restore_more_than_the_autoencoder_alone() -> None:
    image = np.ascontiguousarray(data.coffee()[100:212, 200:312] / 255).astype(np.float32)
    clean = torch.from_numpy(image).permute(2, 0, 1)[None]
    generator = torch.Generator().manual_seed(1)
    specked = synthesis.quantise8(synthesis.pepper_noise(clean, [0.05], generator))
    asked = RestorationPrompt(degradations={Kind.PEPPER_NOISE: 0.05})
    made = {
        size: float(psnr(catalog.load("lm4lv", size).restore(specked, asked).image, clean).mean())
        for size in ("compact", "mae-r")
    }
    assert made["compact"] > float(psnr(specked, clean).mean()) + 2
    assert made["compact"] > made["mae-r"] + 2


def test_a_missing_file_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "in.png")
    words = ["apply", "lm4lv", str(tmp_path / "in.png"), "--prompt", "denoise"]
    code = main([*words, "--weights", str(tmp_path / "missing.safetensors")])
    said = capsys.readouterr().err
    assert code == ExitCode.FAILED
    assert "no weights file" in said
    assert "Traceback" not in said


# ── tiles ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [40, 112, 113, 200, 224, 500, 1003])
def test_exact_tiles_cover_everything(size: int) -> None:
    found = spans(size, tile=112, overlap=32, min_side=112, exact=True)
    total = torch.zeros(max(size, 112))
    for span in found:
        assert span.length == 112
        total[span.start : span.start + 112] += torch.from_numpy(span.weights)
    torch.testing.assert_close(total, torch.ones_like(total))
    shared = [a.start + 112 - b.start for a, b in pairwise(found)]
    assert all(32 <= n < 112 for n in shared)


def test_a_picture_of_one_tile_is_what_the_network_makes_of_it(
    weights: Path, picture: torch.Tensor
) -> None:
    restorer = LM4LVRestorer("compact", weights)
    tile = picture[..., :32, :32]
    with torch.inference_mode():
        made = restorer.restored(tile, ("denoise",))
        tokens = restorer.network.mae.encoder(tile)
        answer = restorer.network.generate(tokens, torch.tensor([0]))
        expected = restorer.network.mae.decoder(answer).clamp(0, 1)
    torch.testing.assert_close(made, expected, atol=1e-5, rtol=1e-4)


def test_tiles_are_generated_side_by_side_as_alone(
    weights: Path, picture: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    restorer = LM4LVRestorer("compact", weights)
    with torch.inference_mode():
        together = restorer.restored(picture, ("derain",))
        monkeypatch.setattr("conservator.restorers.lm4lv.restorer._AT_ONCE", 1)
        alone = restorer.restored(picture, ("derain",))
    assert together.shape == picture.shape
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-3)


def test_tiles_meet_without_a_seam(weights: Path) -> None:
    """Where all tiles show the same flat tone, the whole is flat too, whatever the tiles answer."""
    restorer = LM4LVRestorer("mae-r", weights)
    restorer._tiles = lambda tiles, tasks: tiles  # type: ignore[method-assign]
    picture = torch.rand(1, 3, 61, 130, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(restorer.restored(picture, ()), picture)


def test_the_runner_restores_any_size(weights: Path, picture: torch.Tensor) -> None:
    for size in (picture, picture[..., :7, :9]):
        restored = Runner(LM4LVRestorer("compact", weights), "cpu", "float32").restore(size, NOISE)
        assert restored.image.shape == size.shape
        assert restored.rendered_prompt == "<denoise>"


# ── tasks ───────────────────────────────────────────────────────────────────


def test_tasks_run_one_after_the_other(weights: Path, picture: torch.Tensor) -> None:
    assert set(ORDER) == set(TASKS)
    restorer = LM4LVRestorer("compact", weights)
    prompt = RestorationPrompt(degradations={Kind.NOISE: 25, Kind.MASK: 0.05, Kind.HAZE: 1})
    tasks = restorer.prepare(picture, prompt, seed=0)
    assert tasks == ("demask", "denoise")
    assert restorer.render(prompt) == "<denoise><demask>"
    tile = picture[..., :32, :32]
    with torch.inference_mode():
        both = restorer.restored(tile, tasks)
        tokens = restorer.network.mae.encoder(tile)
        for number in (4, 0):
            tokens = restorer.network(tokens, torch.tensor([number]))
        expected = restorer.network.mae.decoder(tokens).clamp(0, 1)
    torch.testing.assert_close(both, expected, atol=1e-5, rtol=1e-4)


def test_what_it_has_no_task_for_is_refused(weights: Path, picture: torch.Tensor) -> None:
    restorer = Runner(LM4LVRestorer("compact", weights), "cpu", "float32")
    with pytest.raises(PromptError, match="is asked to treat haze"):
        restorer.restore(picture, RestorationPrompt(degradations={Kind.HAZE: 1}))
    with pytest.raises(PromptError, match="no task for blind restoration"):
        restorer.restore(picture, RestorationPrompt(blind=True))


# ── ours: the autoencoder alone, and the input's detail ─────────────────────


def test_mae_r_has_no_language_model(
    weights: Path, picture: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MODELS, "compact", "nobody/nothing")
    restorer = LM4LVRestorer("mae-r", weights)
    tile = picture[..., :32, :32]
    with torch.inference_mode():
        made = restorer.restored(tile, ("denoise",))
        expected = restorer.network.mae(tile).clamp(0, 1)
    torch.testing.assert_close(made, expected)


def test_detail_comes_back_where_nothing_was_restored(
    weights: Path, picture: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    restorer = LM4LVRestorer("residual", weights)
    plain = LM4LVRestorer("compact", weights)
    tile = picture[..., :32, :32]
    with torch.inference_mode():
        for task in TASKS:
            with_detail, without = (r.restored(tile, (task,)) for r in (restorer, plain))
            assert torch.equal(with_detail, without) == (task not in KEEPS_DETAIL)
        # A language model that leaves the tokens as they are leaves the picture as it is.
        monkeypatch.setattr(LM4LV, "forward", lambda self, tokens, numbers: tokens)
        torch.testing.assert_close(restorer.restored(tile, ("deblur",)), tile, atol=1e-5, rtol=0)
        assert float((plain.restored(tile, ("deblur",)) - tile).abs().mean()) > 0.05


# ── weights ─────────────────────────────────────────────────────────────────


def test_another_language_model_is_refused(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = write_llm(tmp_path / "other", seed=9)
    monkeypatch.setenv("CONSERVATOR_LLM", str(other))
    with pytest.raises(WeightsError, match=r"was trained with language model .* CONSERVATOR_LLM"):
        LM4LVRestorer("compact", weights)
    monkeypatch.delenv("CONSERVATOR_LLM")
    assert LM4LVRestorer("compact", weights).weights_sha256


def test_controls_bring_their_switches_with_them(
    tmp_path: Path, llm: Path, monkeypatch: pytest.MonkeyPatch, picture: torch.Tensor
) -> None:
    from dataclasses import replace

    monkeypatch.setitem(CONFIGS, "compact", TINY)
    monkeypatch.setitem(MODELS, "compact", llm)
    for switches, config in (
        ('{"body": "mlp"}', replace(TINY, body="mlp")),
        ('{"generation": "single-pass"}', replace(TINY, generation="single-pass")),
    ):
        path = tmp_path / "control.safetensors"
        save_weights(network(llm, config), path, {"switches": switches})
        restorer = LM4LVRestorer("compact", path)
        assert restorer.network.config == config
        with torch.inference_mode():
            assert restorer.restored(picture, ("denoise",)).shape == picture.shape
    save_weights(network(llm), path, {"switches": "{"})
    with pytest.raises(WeightsError, match="does not say how it was trained"):
        LM4LVRestorer("compact", path)


def test_a_random_model_is_drawn_as_it_was_in_training(
    tmp_path: Path, llm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    monkeypatch.setitem(CONFIGS, "compact", TINY)
    monkeypatch.setitem(MODELS, "compact", llm)
    config: LM4LVConfig = replace(TINY, body="random")
    trained = LM4LV(config, LanguageModel.load(llm, random=True, seed=4))
    path = tmp_path / "random.safetensors"
    facts = {"switches": '{"body": "random"}', "seed": "4", "llm_sha256": fingerprint(llm)}
    save_weights(trained, path, facts)
    loaded = LM4LVRestorer("compact", path).network
    for ours, theirs in zip(
        trained.speaker.network.parameters(), loaded.speaker.network.parameters(), strict=True
    ):
        assert torch.equal(ours, theirs)
