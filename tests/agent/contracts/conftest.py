"""Small pictures degraded by known recipes, and a policy with one classical restorer for each kind."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image, ImageDraw, ImageFont

from conservator.policies.preset import Preset
from conservator.restorers import catalog
from conservator.restorers.degradations.recipe import Recipe as Damage
from conservator.restorers.degradations.recipe import apply
from conservator.restorers.degradations.vocabulary import Kind, Level

BEST = {
    Kind.NOISE: "classical-nlm",
    Kind.LOW_LIGHT: "classical-gamma",
    Kind.JPEG: "classical-deblock",
    Kind.HAZE: "classical-dehaze",
    Kind.DEFOCUS_BLUR: "classical-deblur",
}


@pytest.fixture(scope="session")
def policy(quick: Preset) -> Preset:
    """The quick policy on all kinds of `BEST`."""
    leave = tuple(kind for kind in Kind if kind not in BEST)
    return quick.model_copy(update={"leave": leave, "brightening_estimate": 0.0})


@pytest.fixture(autouse=True, scope="module")
def preferences(surroundings: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Each kind for its classical restorer, whatever else is installed."""
    table = {
        kind.value: {
            level.label: dict.fromkeys(catalog.cards(), -1.0) | {name: 5.0}
            for level in list(Level)[1:]
        }
        for kind, name in BEST.items()
    }
    path = tmp_path_factory.mktemp("table") / "preferences.yaml"
    path.write_text(yaml.safe_dump({"lead": "classical-nlm", "gains": table}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONSERVATOR_PREFERENCES", str(path))
        yield


def damaged(clean: np.ndarray, recipe: str) -> np.ndarray:
    tensor = torch.from_numpy(clean / 255).permute(2, 0, 1)[None].float()
    made = apply(tensor, Damage.parse(recipe).draw(5, *clean.shape[:2]))
    return (made[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)


@pytest.fixture(scope="session")
def pictures(clean: np.ndarray, noisy: np.ndarray) -> dict[str, np.ndarray]:
    page = Image.new("RGB", (320, 160), (190, 180, 160))
    page.paste(Image.fromarray(clean), (0, 0))
    font = ImageFont.load_default(size=20)
    ImageDraw.Draw(page).text((180, 65), "HOTEL Europa", font=font, fill=(20, 20, 30))
    small = Image.fromarray(clean).resize((40, 40), Image.Resampling.BOX)
    return {
        "clean": clean,
        "noisy": noisy,
        "clean sign": np.asarray(page),
        "sign": damaged(np.asarray(page), "noise:sigma=20"),
        "dark": damaged(clean, "low_light:stops=2+noise:sigma=15"),
        "hazy": damaged(clean, "haze:beta=1.5"),
        "soft": damaged(clean, "defocus_blur:radius=4"),
        "noisy jpeg": damaged(clean, "noise:sigma=20+jpeg:quality=40"),
        "enlarged": np.asarray(small.resize((160, 160), Image.Resampling.BICUBIC)),
    }
