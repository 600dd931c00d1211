"""The suites that ship: they load, draw, name systems and metrics that exist, and print what the papers print."""

from pathlib import Path
from statistics import fmean

import pytest
import yaml

from conservator.evals.scorers import FAMILIES
from conservator.evals.systems import build, expanded
from conservator.evals.task import SUITES, load_suite, suite_names
from conservator.restorers.degradations.recipe import Recipe, named_recipes
from conservator.restorers.degradations.vocabulary import PARAMETERS, Kind, Level, value_of
from conservator.restorers.errors import UnknownNameError, UsageError

PAPERS = {
    "paper-llmra": (1, 2, 3, 4, 5, 6),
    "paper-mofe": (1, 2, 3, 4, 5),
    "paper-spire": (1, 3, 4, 5, 6, 7, 8),
    "paper-lm4lv": (2, 3),
}
OWN = {
    *("smoke", "single", "mio16", "cdd11", "spire-param", "lm4lv-tasks", "clean-unchanged"),
    "camera-noise",
    *("real-noref", "perception", "strength", "text-impact", "llmra-card", "mofe-card"),
}


def test_all_suites_ship() -> None:
    papers = {f"{name}-{n}" for name, numbers in PAPERS.items() for n in numbers}
    assert set(suite_names()) == OWN | papers


@pytest.mark.parametrize("name", suite_names())
def test_a_suite_is_whole(name: str) -> None:
    task = load_suite(name)
    assert task.id == name
    assert task.systems[0] == ("instruments" if name == "perception" else "untouched")
    assert set(task.scorers) <= set(FAMILIES)
    for system in expanded(task.systems):
        build(system)
    for row in task.rows:
        assert set(row.truth) <= {kind.value for kind in Kind}
        if row.recipe:
            draws = Recipe.parse(row.recipe).draw(7, 96, 128)
            again = Recipe.parse(row.recipe).draw(7, 96, 128)
            assert draws == again
            assert row.recipe.startswith("spire") or draws.steps
            assert not row.truth, "the draws know the truth"
        else:
            assert (row.needs or task.needs) != "clean" or row.name == "clean"
    lines = {row.name for row in task.rows} | {row.group for row in task.rows if row.group}
    assert set(task.published) <= lines
    assert not task.published or task.source


@pytest.mark.parametrize("name", suite_names())
def test_rows_that_need_truth_have_it(name: str) -> None:
    task = load_suite(name)
    told = [
        s
        for s in task.systems
        if s.partition(":")[0] in {"llmra", "mofe-ir", "oracle", "classical"}
    ]
    told = [s for s in told if "text=" not in s or "text=true" in s]
    for row in task.rows:
        needs = row.needs or task.needs
        assert not told or row.recipe or needs == "clean" or row.truth, row.name
        assert needs != "real" or not {"oracle", "classical"} & set(task.systems)


def test_mio16_and_cdd11_are_complete() -> None:
    mio = load_suite("mio16")
    named = {recipe for recipe in named_recipes() if recipe.startswith("mio16:")}
    assert {row.recipe for row in mio.rows} == named
    assert [len([r for r in mio.rows if r.group == g]) for g in "ABC"] == [8, 4, 4]
    assert all(row.name.startswith(row.recipe[-2:]) for row in mio.rows)
    cdd = load_suite("cdd11")
    assert [f"cdd11:{row.name}" for row in cdd.rows] == [row.recipe for row in cdd.rows]
    assert {row.recipe for row in cdd.rows} == {
        r for r in named_recipes() if r.startswith("cdd11:")
    }


@pytest.mark.parametrize("name", ["single", "perception"])
def test_ladders_stand_on_the_vocabulary(name: str) -> None:
    rows = {row.name: row for row in load_suite(name).rows}
    for kind in Kind:
        for level in list(Level)[1:]:
            row = rows[f"{kind.value.replace('_', ' ')} {level.label}"]
            assert Recipe.parse(row.recipe).kinds == ((kind, value_of(kind, level)),)
            assert PARAMETERS[kind].name in row.recipe
            assert row.enlarge == (name == "perception" and kind is Kind.LOW_RESOLUTION)


@pytest.mark.parametrize("name", ["paper-mofe-1", "paper-mofe-2", "paper-mofe-3"])
def test_published_averages_are_those_of_the_published_rows(name: str) -> None:
    published = load_suite(name).published
    rows = [row.name for row in load_suite(name).rows]
    whole = 0
    for system, average in published["Average"].items():
        for metric, figure in average.items():
            figures = [published[row][system][metric] for row in rows if system in published[row]]
            if len(figures) == len(rows):
                whole += 1
                assert fmean(figures) == pytest.approx(
                    figure, abs=0.0101 if metric == "psnr" else 0.0011
                )
    assert whole >= 14


def test_published_figures_as_printed() -> None:
    llmra = load_suite("paper-llmra-1").published
    assert llmra["Urban100 50"]["LLMRA"] == {"psnr": 28.56, "ssim": 0.8578}
    assert "DA-CLIP" not in llmra["Urban100 15"]
    assert load_suite("paper-llmra-4").published["LOL"]["gf text"]["psnr"] == 7.59
    assert load_suite("paper-mofe-1").published["L+H+S"]["TEAFormer"] == {
        "psnr": 26.05,
        "ssim": 0.8,
    }
    assert load_suite("paper-mofe-2").published["GoPro"]["MMFE-IR"]["psnr"] == 32.23
    assert load_suite("paper-spire-4").published["Deblur 5.0"]["SPIRE"]["musiq"] == 48.81
    assert load_suite("paper-lm4lv-2").published["mask removal"]["MAE-r"]["psnr"] == 20.0


def test_suites_by_name_version_and_file(tmp_path: Path) -> None:
    assert load_suite("mio16@1").key == "mio16@1"
    with pytest.raises(UsageError, match="ships as mio16@1"):
        load_suite("mio16@9")
    with pytest.raises(UnknownNameError, match="mio61"):
        load_suite("mio61")
    own = yaml.safe_load((SUITES / "smoke.yaml").read_text())
    own["rows"][0]["recipe"] = "nois:sigma=25"
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(own))
    with pytest.raises(UsageError, match=r"own\.yaml is not a task: .*nois"):
        load_suite(path)
