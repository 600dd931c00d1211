"""The real command line, in this process."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from conservator.agent.cli.main import main
from conservator.policies.preset import Preset


@dataclass(frozen=True)
class Done:
    """How a command ended.

    Attributes:
        code: exit code.
        out: stdout, the data.
        err: stderr, the talk.
    """

    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    def command(*words: object) -> Done:
        capfd.readouterr()
        code = main([str(word) for word in words])
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return Done(code, out, err)

    return command


@pytest.fixture(scope="session")
def quick_yaml(quick: Preset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quick policy as a file, as users write theirs."""
    path = tmp_path_factory.mktemp("policy") / "quick.yaml"
    path.write_text(yaml.safe_dump(quick.model_dump(mode="json")))
    return path


@pytest.fixture
def read_only(tmp_path: Path) -> Path:
    """A folder in which nobody, not even root, can make a file."""
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o500)
    try:
        (folder / "probe").touch()
    except OSError:
        return folder
    return Path("/proc")
