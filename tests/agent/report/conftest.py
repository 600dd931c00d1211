"""A real run's folder to take apart."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conservator import RestorationResult

Edit = Callable[[dict[str, Any]], None]


@pytest.fixture
def run_dir(whole: RestorationResult, tmp_path: Path) -> Path:
    """A copy of the folder of a real run on a noisy photo, without its page."""
    copy = tmp_path / "noisy.restored.run"
    shutil.copytree(whole.run_dir, copy)
    (copy / "report.html").unlink()
    return copy


@pytest.fixture
def edited(run_dir: Path) -> Callable[[str, Edit], Path]:
    """Changes a JSON file of that folder."""

    def edit(name: str, change: Edit) -> Path:
        path = run_dir / name
        data = json.loads(path.read_bytes())
        change(data)
        path.write_text(json.dumps(data))
        return run_dir

    return edit
