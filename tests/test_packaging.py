"""One import name, light imports, and a wheel that holds everything a run needs."""

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import conservator
from conservator.restorers import catalog

ROOT = Path(__file__).parents[1]
FOLDERS = ("agent", "evals", "policies", "restorers", "tools")
HEAVY = {
    "cv2",
    "diffusers",
    "imagecodecs",
    "langchain_core",
    "langchain_openai",
    "langgraph",
    "numpy",
    "open_clip",
    "openai",
    "pyiqa",
    "rich",
    "scipy",
    "skimage",
    "textual",
    "torch",
    "torchvision",
    "transformers",
    "xgrammar",
}


@pytest.mark.parametrize("name", FOLDERS)
def test_links_lead_to_the_folders(name: str) -> None:
    link = ROOT / "src" / "conservator" / name
    assert link.is_symlink()
    assert link.readlink() == Path("..", "..", name)
    assert link.resolve() == ROOT / name
    assert (link / "__init__.py").is_file()


def loaded_after(code: str) -> set[str]:
    program = f"import sys, json\n{code}\nprint(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return set(json.loads(done.stderr))


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["restore", "--help"],
        ["chat", "--help"],
        ["report", "--help"],
        ["sessions", "list", "--help"],
        ["vlm", "serve", "--help"],
        ["train", "--help"],
        ["--version"],
        ["nope"],
    ],
)
def test_the_command_line_answers_without_heavy_imports(words: list[str]) -> None:
    loaded = loaded_after(
        "import os\nfrom conservator.agent.cli.main import main\n"
        "keep = sys.stderr\nsys.stderr = open(os.devnull, 'w')\n"
        f"main({words!r})\nsys.stderr = keep"
    )
    assert not HEAVY & loaded
    assert "pydantic" not in loaded


def test_listing_restorers_loads_no_network() -> None:
    loaded = loaded_after(
        "from conservator.agent.cli.main import main\nassert main(['restorers', '--json']) == 0"
    )
    assert not (HEAVY - {"numpy"}) & loaded


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheel and sdist, built from the working tree without the network."""
    out = tmp_path_factory.mktemp("dist")
    for kind in ("--wheel", "--sdist"):
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "build",
                kind,
                "--no-isolation",
                "--outdir",
                str(out),
                str(ROOT),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return out


def tracked(*suffixes: str) -> set[str]:
    """Files of the five folders with these suffixes, as paths in the wheel."""
    return {
        f"conservator/{path.relative_to(ROOT).as_posix()}"
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.suffix in suffixes and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_code_and_data(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
        version = f"conservator-{conservator.__version__}.dist-info"
        entry_points = wheel.read(f"{version}/entry_points.txt").decode()
        metadata = wheel.read(f"{version}/METADATA").decode()
    assert {"conservator/__init__.py", "conservator/py.typed"} <= names
    assert (
        tracked(
            *(".py", ".yaml", ".txt", ".npz", ".safetensors", ".sqlite"),
            *(".jinja", ".j2", ".css", ".js"),
        )
        <= names
    )
    assert {
        "conservator/policies/presets/balanced.yaml",
        "conservator/agent/prompts/plan.txt",
    } <= names
    for card in catalog.cards().values():
        for configuration in card.configurations.values():
            if configuration.weights is not None:
                assert f"conservator/restorers/{configuration.weights}" in names
    outside = {name for name in names if not name.startswith(("conservator/", "conservator-"))}
    assert not outside
    assert not {name for name in names if name.endswith((".pt", ".part", ".pyc"))}
    assert "conservator = conservator.agent.cli.main:main" in entry_points
    assert f"{version}/licenses/LICENSE" in names
    assert "License-Expression: Apache-2.0" in metadata


def test_the_source_archive_builds_the_same(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for name in (
        "docs/tui-session.svg",
        "examples/make.sh",
        "CHANGELOG.md",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "agent/api.py",
        "tests/test_packaging.py",
    ):
        assert name in names


def test_an_installed_wheel_runs_beside_a_tools_folder_of_the_user(
    built: Path, tmp_path: Path
) -> None:
    installed, elsewhere = tmp_path / "installed", tmp_path / "elsewhere"
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        wheel.extractall(installed)
    (elsewhere / "tools").mkdir(parents=True)
    (elsewhere / "tools" / "__init__.py").write_text("raise RuntimeError('the wrong tools')")
    done = subprocess.run(
        [sys.executable, "-m", "conservator.agent.cli.main", "policies"],
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "balanced" in done.stdout
