"""SPIRE's figure: one picture under a grid of strengths, and the command that draws it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from conservator.agent.cli.exit_code import ExitCode
from conservator.agent.cli.main import main
from conservator.restorers.errors import UsageError
from conservator.restorers.spire.explain import DEBLUR, DENOISE, strengths
from conservator.restorers.spire.restorer import SpireRestorer
from conservator.tools.figures import strengths_figure
from tiny_spire import write_weights


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return write_weights(tmp_path / "tiny.safetensors", monkeypatch)


@pytest.fixture
def photo() -> torch.Tensor:
    return torch.rand(1, 3, 70, 100, generator=torch.Generator().manual_seed(0))


def test_every_cell_has_its_own_numbers_and_the_same_noise(
    weights: Path, photo: torch.Tensor
) -> None:
    restorer = SpireRestorer("compact", weights)
    found = strengths(restorer, photo, denoise=(0.0, 0.06, 0.06), deblur=(1.0, 2.0))
    assert found.restored.shape == (2, 3, 3, 64, 96)
    assert torch.equal(found.degraded, photo[..., 3:67, 2:98])
    assert found.prompts == (
        "Deblur with sigma 1.0; Denoise with sigma 0.00;",
        "Deblur with sigma 2.0; Denoise with sigma 0.06;",
    )
    cells = found.restored
    torch.testing.assert_close(cells[0, 1], cells[0, 2], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(cells[0, 0], cells[0, 1], atol=1e-4)
    assert not torch.allclose(cells[0, 0], cells[1, 0], atol=1e-4)
    page = strengths_figure(found, "spire")
    assert page.width > 4 * 96
    assert page.height > 2 * 64


def test_small_pictures_cannot_be_explained(weights: Path, photo: torch.Tensor) -> None:
    with pytest.raises(UsageError, match="20x20 px is too small"):
        strengths(SpireRestorer("compact", weights), photo[..., :20, :20])


def test_the_command_draws_the_paper_s_grid(
    weights: Path, tmp_path: Path, photo: torch.Tensor, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray((photo[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)).save(path)
    options = ["--weights", str(weights), "--device", "cpu"]
    assert main(["explain", "spire", str(path), *options]) == ExitCode.DONE
    written = Path(capsys.readouterr().out.strip())
    assert written == tmp_path / "photo.strengths.png"
    with Image.open(written) as page:
        assert page.width > (len(DENOISE) + 1) * 96
        assert page.height > len(DEBLUR) * 64
    for words, named in ((["--prompt", "denoise"], "no --routing or --prompt"), ([], "exists")):
        assert main(["explain", "spire", str(path), *words, *options]) != ExitCode.DONE
        assert named in capsys.readouterr().err


def test_without_weights_it_says_so(
    tmp_path: Path, photo: torch.Tensor, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray((photo[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)).save(path)
    missing = ["--weights", str(tmp_path / "missing.safetensors")]
    assert main(["explain", "spire", str(path), *missing]) == ExitCode.FAILED
    assert "no weights file" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.strengths.png"))
