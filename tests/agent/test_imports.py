"""Importing the package costs next to nothing; the public names are there when they are asked for."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import conservator

SOURCE = str(Path(__file__).parents[2] / "src")
HEAVY = (
    "torch",
    "pyiqa",
    "textual",
    "cv2",
    "langgraph",
    "langchain_core",
    "langchain_openai",
    "openai",
    "transformers",
    "xgrammar",
    "skimage",
)


def modules_after(code: str) -> list[str]:
    program = f"import sys, json\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": SOURCE},
        capture_output=True,
        text=True,
        check=True,
    )
    return list(json.loads(done.stdout))


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = modules_after("import conservator; conservator.__version__; dir(conservator)")
    assert not set(HEAVY) & set(loaded)
    assert [name for name in loaded if name.startswith("conservator")] == ["conservator"]


def test_words_errors_policies_and_cards_need_no_torch() -> None:
    loaded = modules_after(
        "from conservator import Kind, Level, ConservatorError, RestorationPrompt\n"
        "import conservator.policies.planner, conservator.policies.targets\n"
        "from conservator.restorers import catalog\n"
        "catalog.cards()\n"
        "from conservator.policies.preset import load_preset\n"
        "load_preset('balanced')"
    )
    assert not {"torch", "pyiqa", "textual", "langgraph", "transformers"} & set(loaded)


def test_importing_restore_loads_no_torch() -> None:
    loaded = modules_after("from conservator import restore, inspect, resume, replay, stream")
    assert not {"torch", "pyiqa", "textual", "transformers"} & set(loaded)


@pytest.mark.parametrize("name", conservator.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(conservator, name) is not None
    assert name in dir(conservator)


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="restor_e"):
        conservator.restor_e  # noqa: B018
