"""Presets are data: shipped ones load, a user's own loads, a broken one says where."""

from pathlib import Path

import pytest
import yaml

from conservator.policies.preferences import load_preferences
from conservator.policies.preset import load_preset, preset_names
from conservator.restorers.degradations.vocabulary import Finding, Kind, Level, value_at
from conservator.restorers.errors import MissingFileError, UnknownNameError, UsageError


def test_four_presets_ship_and_are_named_after_their_files() -> None:
    assert preset_names() == ("archival", "balanced", "fast", "perceptual")
    assert all(load_preset(name).name == name for name in preset_names())


def test_archival_is_stricter_than_perceptual() -> None:
    archival, perceptual = load_preset("archival"), load_preset("perceptual")
    assert set(archival.leave) >= set(perceptual.leave)
    for kind in set(Kind) - set(archival.leave):
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


def own_preset(folder: Path, **changes: object) -> Path:
    data = load_preset("fast").model_dump(mode="json") | {"name": "mine"} | changes
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


def test_what_may_be_meant_is_left_where_it_is_all_that_was_found() -> None:
    balanced = load_preset("balanced")

    def finding(kind: Kind, severity: float, confidence: float) -> Finding:
        value = value_at(kind, severity)
        return Finding(kind=kind, value=value, confidence=confidence, source="instrument")

    dark, soft = finding(Kind.LOW_LIGHT, 0.9, 0.8), finding(Kind.DEFOCUS_BLUR, 0.6, 0.85)
    noisy, hazy = finding(Kind.NOISE, 0.5, 0.9), finding(Kind.HAZE, 0.5, 0.9)
    assert balanced.acts_on(dark)
    assert balanced.treats([dark]) == balanced.treats([soft]) == ()
    assert balanced.treats([dark, finding(Kind.JPEG, 0.2, 0.9)]) == ()
    assert balanced.treats([dark, noisy]) == (dark, noisy)
    assert balanced.treats([dark, soft]) == (dark, soft)
    assert balanced.treats([hazy]) == (hazy,)
    assert balanced.treats([finding(Kind.LOW_LIGHT, 0.9, 0.95)])
    assert not balanced.treats([finding(Kind.LOW_LIGHT, 0.4, 0.95)])
    assert load_preset("perceptual").treats([dark]) == (dark,)


def test_a_preset_of_the_users_own(tmp_path: Path) -> None:
    path = own_preset(tmp_path, level={"haze": "very high"}, target_level="absent")
    own = load_preset(str(path))
    assert own.name == "mine"
    assert own.level_needed(Kind.HAZE) is Level.VERY_HIGH
    assert own.target_level is Level.ABSENT
    assert load_preset(path) == load_preset(own)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"minimal_drop": 7}, "minimal_drop"),
        ({"target_level": "mid"}, "'mid'"),
        ({"level": {"noise": "tiny"}}, "'tiny'"),
        ({"blends": [1.5]}, "blends"),
        ({"surprise": 1}, "surprise"),
        ({"leave": ["nois"]}, "leave"),
        (
            {
                "guards": {
                    "structure": 0.9,
                    "colour": 0,
                    "lowpass": 0,
                    "residual": 5,
                    "allowances": {"noise": {"sharpness": 1}},
                }
            },
            "sharpness",
        ),
    ],
)
def test_a_broken_preset_says_where(tmp_path: Path, changes: dict[str, object], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        load_preset(own_preset(tmp_path, **changes))


def test_a_policy_holds_a_contract_over_a_shipped_one(tmp_path: Path) -> None:
    path = tmp_path / "portraits.yaml"
    path.write_text(
        "based_on: archival\ntargets: noise<=low, ssim_to_input>=0.8\n"
        'protect: [face, "10%,20%,30%,30%"]\nkeep: the bokeh\n'
    )
    own, archival = load_preset(path), load_preset("archival")
    assert own.name == "portraits"
    assert own.targets == ("noise<=low, ssim_to_input>=0.8",)
    assert own.protect == ("face", "10%,20%,30%,30%")
    assert own.keep == ("the bokeh",)
    changed = {"name", "title", "targets", "protect", "keep"}
    assert own.model_dump(exclude=changed) == archival.model_dump(exclude=changed)


def test_shipped_policies_ask_for_nothing_of_their_own() -> None:
    for name in preset_names():
        preset = load_preset(name)
        assert (preset.targets, preset.protect, preset.keep) == ((), (), ())


def test_based_on_a_policy_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("based_on: balance\n")
    with pytest.raises(UnknownNameError, match="balance"):
        load_preset(path)


def test_a_file_that_is_no_yaml(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("guards: [")
    with pytest.raises(UsageError, match="does not read as YAML"):
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
