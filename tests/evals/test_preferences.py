"""The table of gains is measured, and a part of it can be measured again."""

from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from conservator.evals.preferences import gains, main
from conservator.restorers.degradations.vocabulary import Kind, Level


@pytest.fixture
def crops(photos: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "crops"
    folder.mkdir()
    for path in sorted(photos.iterdir())[:1]:
        with Image.open(path) as image:
            image.convert("RGB").crop((0, 0, 64, 64)).save(folder / f"{path.stem}.png")
    return folder


def test_a_median_filter_gains_on_lost_pixels() -> None:
    torch.manual_seed(0)
    ramp = torch.linspace(0.2, 0.8, 64).expand(1, 3, 64, 64).contiguous()
    found = gains(ramp, Kind.PEPPER_NOISE, Level.HIGH, restorers=["classical-median"])
    assert list(found) == ["classical-median"]
    assert found["classical-median"] > 10


def test_one_restorer_is_measured_and_the_rest_stays(crops: Path, tmp_path: Path) -> None:
    out = tmp_path / "preferences.yaml"
    kept = {"llmra": 9.0, "classical-median": -3.0}
    before = {
        "lead": "llmra",
        "named_only": ["lm4lv"],
        "measured": "then",
        "gains": {"pepper_noise": {"high": kept}},
    }
    out.write_text(yaml.safe_dump(before))
    arguments = ["--images", str(crops), "--out", str(out), "--restorer", "classical-median"]
    assert main(arguments) == 0
    written = yaml.safe_load(out.read_text())
    assert written["named_only"] == ["lm4lv"]
    row = written["gains"]["pepper_noise"]["high"]
    assert row["llmra"] == 9.0
    assert row["classical-median"] > 0
    assert list(row.values()) == sorted(row.values(), reverse=True)
    assert set(written["gains"]["pepper_noise"]["low"]) == {"classical-median"}
    assert written["measured"].startswith("then; classical-median: 1 crops of 320 px")


def test_an_unknown_restorer_is_told(crops: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["--images", str(crops), "--out", str(tmp_path / "p.yaml"), "--restorer", "nobody"])
