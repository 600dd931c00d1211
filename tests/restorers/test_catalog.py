"""The catalogue: light to list, explicit, open to others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from conservator.restorers import catalog
from conservator.restorers.card import RestorerCard
from conservator.restorers.degradations.vocabulary import Kind, Level, value_of
from conservator.restorers.errors import RestorerError, UnknownNameError, WeightsError
from conservator.restorers.prompts.model import RestorationPrompt

SOURCES = Path(catalog.__file__).parents[2]

THIRD_PARTY = """
from conservator.restorers.card import Configuration, RestorerCard
from conservator.restorers.catalog import Entry
from conservator.restorers.degradations.vocabulary import Kind

CARD = RestorerCard(name="{name}", title="Inverts", treats=(Kind.MASK,), configurations={{"compact": Configuration()}})
ENTRY = Entry("inverter:CARD", "inverter:Inverter")

class Inverter:
    card = CARD
    def __init__(self, configuration, weights_path): pass
    def render(self, prompt): return "invert"
    def prepare(self, image, prompt, *, seed): return None
    def restore_tile(self, tile, guidance): return 1 - tile
    def to(self, device, dtype): pass
"""


def run(code: str, *paths: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (*paths, SOURCES)))}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )


def installed(folder: Path, name: str, module: str) -> Path:
    """A third-party distribution as an installer leaves it."""
    (folder / "inverter.py").write_text(module)
    info = folder / "inverter-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: inverter\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        f"[{catalog.ENTRY_POINT_GROUP}]\n{name} = inverter:ENTRY\n"
    )
    return folder


def test_listing_imports_nothing_heavy() -> None:
    code = (
        "import sys; from conservator.restorers import catalog; catalog.describe(); "
        "print([m for m in ('torch', 'cv2', 'skimage', 'safetensors') if m in sys.modules])"
    )
    result = run(code)
    assert result.stdout.strip() == "[]", result.stderr


def test_every_card_is_under_its_own_name() -> None:
    for name, card in catalog.cards().items():
        assert isinstance(card, RestorerCard)
        assert card.name == name
        assert card.title
        assert card.configurations
        assert catalog.card(name) is card


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_has_a_classical_treatment(kind: Kind) -> None:
    names = [n for n, c in catalog.cards().items() if kind in c.treats and c.scale == 1]
    assert any(name.startswith("classical-") for name in names)


def test_description_is_json() -> None:
    rows = json.loads(json.dumps(catalog.describe()))
    assert [row["name"] for row in rows] == list(catalog.cards())
    row = next(row for row in rows if row["name"] == "classical-nlm")
    assert row["treats"] == ["noise"]
    assert row["prompt_style"] == "parameters"
    assert row["licence"] == "Apache-2.0"
    assert row["commercial_use"] is True
    assert row["configurations"] == {
        "compact": {"parameters_m": 0.0, "weights": None, "sha256": None}
    }
    assert {"title", "scale", "paper"} <= set(row)


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown restorer 'nlm'; known: .*classical-nlm"):
        catalog.card("nlm")
    with pytest.raises(UnknownNameError, match="unknown restorer"):
        catalog.load("nlm")
    with pytest.raises(UnknownNameError, match="configuration of classical-nlm 'huge'"):
        catalog.load("classical-nlm", "huge")


@pytest.mark.parametrize("name", [n for n in catalog.cards() if n.startswith("classical-")])
def test_every_classical_tool_loads_and_answers(name: str) -> None:
    restorer = catalog.load(name)
    kind = restorer.card.treats[0]
    prompt = RestorationPrompt(degradations={kind: value_of(kind, Level.HIGH)})
    image = torch.rand(1, 3, 40, 56, generator=torch.Generator().manual_seed(0))
    restored = restorer.restore(image, prompt)
    scale = restorer.card.scale
    assert restored.image.shape == (1, 3, 40 * scale, 56 * scale)
    assert restored.restorer == name
    assert kind in restored.rendered_prompt
    json.dumps(restored.details)


def test_loaded_restorers_stay_resident() -> None:
    first = catalog.load("classical-gamma")
    assert catalog.load("classical-gamma") is first
    assert catalog.load("classical-gamma", dtype="float32") is not first
    catalog.unload()
    assert catalog.load("classical-gamma") is not first


def test_classical_tools_take_no_weights(tmp_path: Path) -> None:
    path = tmp_path / "some.safetensors"
    path.write_bytes(b"")
    with pytest.raises(WeightsError, match="classical-nlm takes no weights"):
        catalog.load("classical-nlm", weights_path=path)
    with pytest.raises(WeightsError, match="no weights file"):
        catalog.load("classical-nlm", weights_path=tmp_path / "absent.safetensors")


def test_community_asks_for_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="needs a checkpoint"):
        catalog.load("community")
    script = tmp_path / "model.pt"
    script.write_bytes(b"PK")
    with pytest.raises(WeightsError, match=r"neither \.safetensors nor \.pth"):
        catalog.load("community", weights_path=script)


def test_a_taken_name_is_refused() -> None:
    entry = catalog.Entry("nowhere:CARD", "nowhere:build")
    with pytest.raises(RestorerError, match="'classical-nlm' is registered already"):
        catalog.register("classical-nlm", entry)


def test_a_third_party_restorer_is_found_and_runs(tmp_path: Path) -> None:
    place = installed(tmp_path, "inverter", THIRD_PARTY.format(name="inverter"))
    code = """
import torch
from conservator.restorers import catalog
from conservator.restorers.prompts.model import RestorationPrompt
restored = catalog.load("inverter").restore(torch.full((1, 3, 8, 8), 0.25), RestorationPrompt(blind=True))
print(catalog.card("inverter").title, float(restored.image.mean()), restored.rendered_prompt)
"""
    result = run(code, place)
    assert result.stdout.strip() == "Inverts 0.75 invert", result.stderr


def test_packages_are_looked_for_once_unless_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog.cards()
    monkeypatch.syspath_prepend(
        installed(tmp_path, "inverter", THIRD_PARTY.format(name="inverter"))
    )
    assert "inverter" not in catalog.cards()
    catalog.rescan()
    assert catalog.cards()["inverter"].title == "Inverts"
    monkeypatch.undo()
    catalog.rescan()
    sys.modules.pop("inverter")
    assert "inverter" not in catalog.cards()


@pytest.mark.parametrize(
    ("name", "module", "message"),
    [
        ("classical-nlm", THIRD_PARTY.format(name="classical-nlm"), "two restorers are named"),
        ("inverter", "import no_such_package", "does not import: No module named"),
        ("inverter", "ENTRY = 7", "is int, not a catalog.Entry"),
        ("inverter", THIRD_PARTY.format(name="other"), "is named 'other'; both must agree"),
    ],
    ids=["taken name", "broken package", "no entry", "card of another name"],
)
def test_a_third_party_mistake_is_one_line(
    tmp_path: Path, name: str, module: str, message: str
) -> None:
    code = """
from conservator.restorers import catalog
from conservator.restorers.errors import RestorerError
try:
    catalog.cards()
except RestorerError as error:
    print(error)
"""
    result = run(code, installed(tmp_path, name, module))
    assert message in result.stdout, result.stderr
    assert result.stdout.count("\n") == 1
