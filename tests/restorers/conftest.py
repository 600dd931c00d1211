"""A guide and a few photos, once a session."""

from pathlib import Path

import pytest
import skimage.data
from PIL import Image

from tiny_mofe import write_guide


@pytest.fixture(scope="session")
def guide_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_guide(tmp_path_factory.mktemp("guide") / "untrained")


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for name in ("astronaut", "coffee", "chelsea"):
        picture = Image.fromarray(getattr(skimage.data, name)())
        picture.resize((330, 330)).save(folder / f"{name}.png")
    return folder
