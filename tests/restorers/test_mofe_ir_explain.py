"""What is said about MoFE-IR's inside: numbers, figures and the command."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from conservator.agent.cli.exit_code import ExitCode
from conservator.agent.cli.main import main
from conservator.restorers.errors import UsageError
from conservator.restorers.mofe_ir.explain import experts, projected, routing
from conservator.restorers.mofe_ir.network import guided_loss
from conservator.restorers.mofe_ir.restorer import MoFEIRRestorer
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.tools.figures import experts_figure, heat, routing_figure
from tiny_mofe import TINY, write_weights

BLIND = RestorationPrompt(blind=True)


@pytest.fixture
def weights(tmp_path: Path, guide_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return write_weights(tmp_path / "tiny.safetensors", guide_folder, monkeypatch)


@pytest.fixture
def photo() -> torch.Tensor:
    return torch.rand(1, 3, 150, 180, generator=torch.Generator().manual_seed(0))


def test_a_map_is_what_changes_without_its_expert(weights: Path, photo: torch.Tensor) -> None:
    restorer = MoFEIRRestorer("compact", weights)
    found = experts(restorer, photo, BLIND)
    assert found.degraded.shape == (1, 3, 144, 176)
    assert torch.equal(found.degraded, photo[..., 3:147, 2:178])
    assert found.maps.shape == (TINY.experts, 144, 176)
    assert all(0 < weight < 1 for weight in found.weights)
    guidance = restorer.prepare(photo, BLIND, seed=0)
    without = guidance.weights.clone()
    without[0, 1] = 0
    with torch.inference_mode():
        output = restorer.model(found.degraded, guidance.embeddings, guidance.curve, without)
    expected = (output.clamp(0, 1) - found.restored).abs().mean(dim=1)[0]
    torch.testing.assert_close(found.maps[1], expected)
    assert float(found.maps.max()) > 0


def test_an_expert_that_says_nothing_has_a_black_map(weights: Path, photo: torch.Tensor) -> None:
    restorer = MoFEIRRestorer("compact", weights)
    for block in restorer.model.mofe.values():
        hidden = block.experts.hidden
        block.experts.second.weight[:, 2 * hidden : 3 * hidden] = 0
        block.experts.bias[2] = 0
    found = experts(restorer, photo, BLIND)
    assert not found.maps[2].any()
    assert found.maps[0].any()


def test_what_cannot_be_explained_is_named(
    weights: Path, monkeypatch: pytest.MonkeyPatch, photo: torch.Tensor
) -> None:
    restorer = MoFEIRRestorer("compact", weights)
    with pytest.raises(UsageError, match="20x20 px is too small"):
        experts(restorer, photo[..., :20, :20], BLIND)
    with pytest.raises(UsageError, match="at least three"):
        routing(restorer, [photo, photo], BLIND)
    restorer.model.config = replace(TINY, use_mofe=False)
    with pytest.raises(UsageError, match="without experts"):
        experts(restorer, photo, BLIND)
    with pytest.raises(UsageError, match="without experts"):
        routing(restorer, [photo] * 3, BLIND)


def test_routing_is_compared_with_the_guide(weights: Path, photo: torch.Tensor) -> None:
    restorer = MoFEIRRestorer("compact", weights)
    pictures = [photo**power for power in (0.2, 1, 3, 6)]
    found = routing(restorer, pictures, BLIND)
    assert found.answers.shape == (4, 256)
    assert found.weights.shape == (4, TINY.experts)
    assert found.difference == pytest.approx(float(guided_loss(found.answers, found.weights)))
    assert -1 <= found.correlation <= 1
    page = routing_figure(found, ["low", "low", "high", "high"])
    assert len(page.getcolors(1 << 16) or []) > 5


def test_principal_components_are_numpy_s() -> None:
    vectors = torch.randn(9, 5, generator=torch.Generator().manual_seed(0)).double()
    centred = (vectors - vectors.mean(0)).numpy()
    _, directions = np.linalg.eigh(centred.T @ centred)
    expected = centred @ directions[:, ::-1][:, :2]
    np.testing.assert_allclose(np.abs(projected(vectors)), np.abs(expected), atol=1e-9)
    assert projected(torch.rand(4, 1)).shape == (4, 2)


def test_heat_runs_from_black_to_pale() -> None:
    assert heat(np.array([0.0, 1.0, 2.0])).tolist() == [[0, 0, 4], [252, 255, 164], [252, 255, 164]]


def test_the_figure_shows_every_expert(weights: Path, photo: torch.Tensor) -> None:
    found = experts(MoFEIRRestorer("compact", weights), photo, BLIND)
    page = np.asarray(experts_figure(found, "mofe-ir"))
    # Two pictures and three maps in one row, each as wide as the picture allows.
    assert page.shape[1] > 5 * 176
    assert page.shape[0] > 144 + 40


# ── the command ─────────────────────────────────────────────────────────────


def test_the_command_writes_both_figures(
    weights: Path, tmp_path: Path, photo: torch.Tensor, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pictures"
    for name, power in (("low/1", 3), ("low/2", 4), ("haze-1", 0.3), ("haze-2", 0.2)):
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = (photo[0].permute(1, 2, 0).numpy() ** power * 255).astype(np.uint8)
        Image.fromarray(pixels).save(path)
    options = ["--weights", str(weights), "--device", "cpu"]
    assert main(["explain", "mofe-ir", str(folder / "haze-1.png"), *options]) == ExitCode.DONE
    written = Path(capsys.readouterr().out.strip())
    assert written == folder / "haze-1.experts.png"
    with Image.open(written) as page:
        assert page.width > 900
    written.unlink()
    target = tmp_path / "routing.png"
    words = ["explain", "mofe-ir", "--routing", str(folder), "-o", str(target), *options]
    assert main(words) == ExitCode.DONE
    captured = capsys.readouterr()
    assert captured.out.strip() == str(target)
    assert "4 pictures; similarities differ by" in captured.err
    with Image.open(target) as page:
        assert page.width > 800
    assert main(words) == ExitCode.FAILED
    assert "exists" in capsys.readouterr().err
    assert main([*words, "--overwrite"]) == ExitCode.DONE
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.parametrize(
    ("words", "named", "code"),
    [
        ([], "give one photo, or a folder", ExitCode.USAGE),
        (["IN", "--routing", "DIR"], "give one photo, or a folder", ExitCode.USAGE),
        (["--routing", "nowhere"], "no folder 'nowhere'", ExitCode.USAGE),
        (["IN", "-o", "figure.jpg"], "a figure is a .png", ExitCode.USAGE),
        (["missing.png"], "missing.png", ExitCode.USAGE),
    ],
)
def test_the_command_refuses_what_does_not_go(
    weights: Path,
    tmp_path: Path,
    words: list[str],
    named: str,
    code: ExitCode,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 64)).save("in.png")
    given = [word.replace("IN", "in.png") for word in words]
    assert main(["explain", "mofe-ir", *given, "--weights", str(weights)]) == code
    assert named in capsys.readouterr().err
    assert not list(tmp_path.glob("*.experts.png"))
