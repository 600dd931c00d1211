"""Presets are data: shipped ones load, a user's own loads, a broken one says where."""

from pathlib import Path

import pytest

from conservator.policies.preferences import load_preferences
from conservator.policies.preset import load_preset, preset_names
from conservator.restorers.degradations.vocabulary import Finding, Kind, Level
from conservator.restorers.errors import MissingFileError, UnknownNameError, UsageError

SHIPPED = Path(__file__).parents[2] / "policies" / "presets"


def test_four_presets_ship_and_are_named_after_their_files() -> None:
    assert preset_names() == ("archival", "balanced", "fast", "perceptual")
    assert all(load_preset(name).name == name for name in preset_names())


def test_archival_is_stricter_than_perceptual() -> None:
    archival, perceptual = load_preset("archival"), load_preset("perceptual")
    for kind in Kind:
        assert archival.confidence_needed(kind) > perceptual.confidence_needed(kind)
        assert archival.level_needed(kind) >= perceptual.level_needed(kind)
    assert archival.guards.structure > perceptual.guards.structure
    assert archival.guards.residual < perceptual.guards.residual
    assert archival.strength_bias < perceptual.strength_bias


def test_acts_only_on_what_is_certain_and_bad_enough() -> None:
    preset = load_preset("archival")

    def acts(kind: Kind, value: float, confidence: float) -> bool:
        return preset.acts_on(
            Finding(kind=kind, value=value, confidence=confidence, source="instrument")
        )

    assert acts(Kind.NOISE, 25, 0.9)
    assert not acts(Kind.NOISE, 25, 0.5)
    assert not acts(Kind.NOISE, 4, 0.9)
    assert not acts(Kind.LOW_RESOLUTION, 4, 1.0)


def test_a_preset_of_the_users_own(tmp_path: Path) -> None:
    text = (SHIPPED / "fast.yaml").read_text()
    own = tmp_path / "mine.yaml"
    own.write_text(text.replace("name: fast", "name: mine"))
    assert load_preset(own).name == "mine"
    assert load_preset(str(own)).level_needed(Kind.HAZE) is Level.MEDIUM


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("minimal_drop: 0.1", "minimal_drop: 7", "minimal_drop"),
        ("target_level: medium", "target_level: mid", "'mid'"),
        ("blends: []", "blends: [1.5]", "blends"),
        ("leave: [low_resolution]", "leave: [low_resolution]\nsurprise: 1", "surprise"),
        ("  colour: 0.025", "  colour: [", "does not read as YAML"),
        ("    noise: {structure: ", "    noise: {sharpness: ", "sharpness"),
    ],
)
def test_a_broken_preset_says_where(tmp_path: Path, old: str, new: str, named: str) -> None:
    text = (SHIPPED / "fast.yaml").read_text()
    assert old in text
    broken = tmp_path / "broken.yaml"
    broken.write_text(text.replace(old, new, 1))
    with pytest.raises(UsageError, match=named):
        load_preset(broken)


def test_unknown_names_and_missing_files() -> None:
    with pytest.raises(UnknownNameError, match="balanced"):
        load_preset("balance")
    with pytest.raises(MissingFileError, match="nowhere"):
        load_preset("nowhere.yaml")


def test_preferences_cover_every_kind_and_level() -> None:
    table = load_preferences()
    for kind in Kind:
        for level in list(Level)[1:]:
            assert table.gains[kind][level], f"{kind} {level.label}"


def test_a_broken_table_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "table.yaml"
    broken.write_text("lead: llmra\ngains: {noise: {tiny: {llmra: 1}}}\n")
    with pytest.raises(UsageError, match=r"table\.yaml"):
        load_preferences(broken)
