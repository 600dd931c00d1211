"""Small real photos, a policy without slow metrics, and a table that sends noise to the classical denoiser."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from skimage import data

from conservator import RestorationResult, restore
from conservator.policies.preset import GainWeights, Preset, VlmRules, load_preset
from conservator.restorers import catalog
from conservator.restorers.degradations.vocabulary import Kind, Level

SIGMA = 25


@pytest.fixture(scope="session")
def clean() -> np.ndarray:
    return np.ascontiguousarray(data.astronaut()[20:180, 140:300])


@pytest.fixture(scope="session")
def noisy(clean: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(5).normal(0, SIGMA, clean.shape)
    return np.clip(clean + noise, 0, 255).round().astype(np.uint8)


@pytest.fixture
def noisy_png(tmp_path: Path, noisy: np.ndarray) -> Path:
    path = tmp_path / "noisy.png"
    Image.fromarray(noisy).save(path)
    return path


@pytest.fixture(scope="session")
def quick() -> Preset:
    """The balanced policy, decided by instruments and guards alone, on noise alone, without rivals."""
    balanced = load_preset("balanced")
    return balanced.model_copy(
        update={
            "votes": {},
            "leave": tuple(kind for kind in Kind if kind is not Kind.NOISE),
            "candidates": 1,
            "minimal_estimate": -100.0,
            "sure_estimate": 1e6,
            "weights": GainWeights(severity=1.0, votes=0.25, prior=0.05, change=0.2),
            "vlm": VlmRules(doubt=1e6),
        }
    )


@pytest.fixture(scope="session", autouse=True)
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Temporary runs in a folder of the tests', and noise for `classical-nlm` whatever else is installed."""
    folder = tmp_path_factory.mktemp("surroundings")
    table = folder / "preferences.yaml"
    noise = dict.fromkeys(catalog.cards(), -1.0) | {"classical-nlm": 5.0}
    levels = {level.label: noise for level in list(Level)[1:]}
    table.write_text(yaml.safe_dump({"lead": "classical-nlm", "gains": {"noise": levels}}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONSERVATOR_PREFERENCES", str(table))
        patch.setenv("CONSERVATOR_RUNS_DIR", str(folder / "runs"))
        yield folder


@pytest.fixture(scope="session")
def whole(
    noisy: np.ndarray,
    quick: Preset,
    surroundings: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> RestorationResult:
    """An undisturbed run on the noisy photo, as a file."""
    path = tmp_path_factory.mktemp("whole") / "noisy.png"
    Image.fromarray(noisy).save(path)
    return restore(path, policy=quick)
