"""The README tells the truth: its code runs, its tables are the product's own."""

import os
import re
import shutil
import tomllib
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image
from skimage import data

import conservator
from conservator.agent.cli.main import cli, main
from conservator.restorers.degradations.recipe import Recipe, apply
from conservator.tools.image_io import from_tensor, load, to_tensor

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PYTHON = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
SHELL = re.findall(r"^```bash\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
EXAMPLES = re.findall(
    r"^\| `(\S+)` \| `skimage\.data\.(\w+)`.*?\| `([^`]+)` \| (\d+) \|$",
    (ROOT / "examples" / "README.md").read_text(encoding="utf-8"),
    re.MULTILINE,
)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the examples, as a newcomer has it."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("code", PYTHON, ids=range(len(PYTHON)))
def test_python_blocks_run(code: str, checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    assert capsys.readouterr().out


def test_there_are_python_blocks() -> None:
    assert any("restore(" in code for code in PYTHON)
    assert any("inspect(" in code for code in PYTHON)


def test_commands_and_options_exist() -> None:
    lines = [line.partition("#")[0] for block in SHELL for line in block.splitlines()]
    calls = [*lines, *re.findall(r"`(conservator [^`]+)`", README)]
    checked = 0
    for call in calls:
        for words in re.findall(r"conservator (.+?)(?:&&|$)", call):
            name, *rest = words.split()
            if name.startswith("-") or "=" in name:
                continue
            command = cli.commands[name.rstrip(",")]
            if isinstance(command, click.Group):
                command = command.commands[rest.pop(0)]
            known = {option for param in command.params for option in param.opts} | {"--help"}
            assert {word for word in rest if word.startswith("-")} <= known, call
            checked += 1
    assert checked > 10


def test_every_command_is_listed() -> None:
    for name in cli.commands:
        assert f"`conservator {name}" in README


def test_the_table_of_restorers_is_the_catalogue(capsys: pytest.CaptureFixture[str]) -> None:
    """`CONSERVATOR_GOLDEN=write` writes it anew."""
    assert main(["restorers", "--markdown"]) == 0
    table = capsys.readouterr().out
    before, begin, rest = README.partition("<!-- restorers: conservator restorers --markdown -->\n")
    shown, end, after = rest.partition("<!-- end of restorers -->")
    if os.environ.get("CONSERVATOR_GOLDEN") == "write":
        text = f"{before}{begin}\n{table}\n{end}{after}"
        (ROOT / "README.md").write_text(text, encoding="utf-8")
        return
    assert shown.strip() == table.strip()


def test_python_versions_and_licence_are_those_of_the_package() -> None:
    assert PROJECT["license"] == "Apache-2.0"
    assert PROJECT["requires-python"] == ">=3.11,<3.14"
    assert "Python 3.11 to 3.13" in README
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").count("Apache License") >= 1
    assert conservator.__version__


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_nothing_is_left_to_fill_in() -> None:
    for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "examples/README.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert not re.search(r"\b(PLACEHOLDER|TODO|TBD|FIXME)\b", text), name


def test_examples_are_described_and_small() -> None:
    described = {name for name, *_ in EXAMPLES}
    pictures = {
        path.name
        for path in (ROOT / "examples").iterdir()
        if path.suffix in (".jpg", ".png") and ".restored" not in path.name
    }
    assert described == pictures
    for name in pictures:
        assert (ROOT / "examples" / name).stat().st_size < 300_000


@pytest.mark.parametrize(("name", "original", "recipe", "seed"), EXAMPLES)
def test_examples_come_from_their_recipe(
    name: str, original: str, recipe: str, seed: str, tmp_path: Path
) -> None:
    source = tmp_path / "clean.png"
    Image.fromarray(getattr(data, original)()).save(source)
    tensor = to_tensor(load(source))
    draws = Recipe.parse(recipe).draw(int(seed), *tensor.shape[-2:])
    made = from_tensor(apply(tensor, draws))
    stored = load(ROOT / "examples" / name).pixels
    error = float(np.mean((made - stored) ** 2))
    # JPEG files are coded once more, and codecs differ between versions.
    assert -10 * np.log10(max(error, 1e-10)) > 34
    make = (ROOT / "examples" / "make.sh").read_text(encoding="utf-8")
    assert f'"{recipe}" --seed {seed} -o {name}' in make
