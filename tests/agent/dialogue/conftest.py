"""A small dim and noisy photo, and a policy that needs no metrics."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from skimage import data

from conservator.policies.preset import Preset, load_preset
from conservator.restorers import catalog
from conservator.restorers.degradations.vocabulary import Kind, Level


@pytest.fixture(scope="module", autouse=True)
def classics(surroundings: Path) -> Iterator[None]:
    """A table that sends each kind to its quickest filter."""
    best = {"noise": "classical-nlm", "low_light": "classical-gamma", "haze": "classical-dehaze"}
    gains = {
        kind: {
            level.label: dict.fromkeys(catalog.cards(), -1.0) | {name: 5.0}
            for level in list(Level)[1:]
        }
        for kind, name in best.items()
    }
    table = surroundings / "classics.yaml"
    table.write_text(yaml.safe_dump({"lead": "classical-nlm", "gains": gains}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONSERVATOR_PREFERENCES", str(table))
        yield


@pytest.fixture(scope="session")
def dim() -> np.ndarray:
    """(96, 120, 3), uint8: an astronaut by half a stop too dark, with noise of sigma 12."""
    clean = data.astronaut()[10:106, 160:280] / 255
    noise = np.random.default_rng(7).normal(0, 12 / 255, clean.shape)
    return np.clip(255 * (clean**1.7 * 0.8 + noise), 0, 255).round().astype(np.uint8)


@pytest.fixture
def dim_png(tmp_path: Path, dim: np.ndarray) -> Path:
    path = tmp_path / "dim.png"
    Image.fromarray(dim).save(path)
    return path


@pytest.fixture(scope="session")
def plain() -> Preset:
    """The balanced policy without metrics, on noise and low light alone."""
    treated = (Kind.NOISE, Kind.LOW_LIGHT)
    others = tuple(kind for kind in Kind if kind not in treated)
    return load_preset("balanced").model_copy(update={"votes": {}, "leave": others})
