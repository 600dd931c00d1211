"""A random network of the right architecture, once a session."""

from pathlib import Path

import pytest

from tiny_vlm import write_tiny_vlm


@pytest.fixture(scope="session")
def tiny_vlm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_vlm(tmp_path_factory.mktemp("vlm") / "tiny")
