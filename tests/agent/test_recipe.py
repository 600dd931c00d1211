"""A recipe replays to the same pixels, on one picture or a folder, without looking at anything."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conservator import Kind, Recipe, RestorationResult, replay
from conservator.agent.errors import MissingFileError, UnknownNameError, UsageError, WeightsError
from conservator.agent.recipe import MixStep, RecipeStep, read_recipe
from conservator.tools.regions import Region

STEP = RecipeStep(
    restorer="classical-nlm", configuration="compact", degradations={Kind.NOISE: 25.0}
)


def test_replays_to_the_same_file(
    tmp_path: Path, noisy_png: Path, whole: RestorationResult
) -> None:
    result = whole
    assert result.run_dir is not None and result.path is not None
    again = replay(result.run_dir, noisy_png, output=tmp_path / "again.png")
    assert not isinstance(again, tuple)
    assert again.steps == 1
    np.testing.assert_array_equal(again.array, result.array)
    assert again.path is not None
    assert again.path.read_bytes() == result.path.read_bytes()


def test_the_file_reads_back(whole: RestorationResult) -> None:
    result = whole
    assert result.run_dir is not None
    assert read_recipe(result.run_dir) == read_recipe(result.run_dir / "recipe.json")
    assert read_recipe(result.run_dir) == result.recipe
    (step,) = result.recipe.steps
    assert step.restorer == "classical-nlm"
    assert step.rendered_prompt


def test_an_empty_recipe_changes_nothing(noisy: np.ndarray) -> None:
    again = replay(Recipe(conservator="0"), noisy)
    np.testing.assert_array_equal((again.array * 255).round().astype(np.uint8), noisy)


def test_steps_and_blends_apply_in_order(noisy: np.ndarray) -> None:
    half = STEP.model_copy(update={"blend": 0.5})
    whole = replay(Recipe(conservator="0", steps=(STEP,)), noisy)
    mixed = replay(Recipe(conservator="0", steps=(half,)), noisy)
    expected = (noisy / 255 + whole.array) / 2
    assert np.abs(mixed.array - expected).max() < 1.5 / 255
    assert replay(Recipe(conservator="0", steps=(STEP, STEP)), noisy).steps == 2


def test_a_folder_goes_on_past_a_bad_picture(tmp_path: Path, noisy: np.ndarray) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.png", "c.png"):
        Image.fromarray(noisy).save(folder / name)
    (folder / "b.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    (folder / "notes.txt").write_text("not a picture")
    results = replay(Recipe(conservator="0", steps=(STEP,)), folder, output=tmp_path / "out")
    assert isinstance(results, tuple)
    assert [result.source.name for result in results if result.source] == [
        "a.png",
        "b.png",
        "c.png",
    ]
    assert [bool(result.error) for result in results] == [False, True, False]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "c.png"]
    np.testing.assert_array_equal(results[0].array, results[2].array)


def test_other_weights_are_refused_unless_allowed(noisy: np.ndarray) -> None:
    strange = STEP.model_copy(update={"weights_sha256": "0" * 64})
    recipe = Recipe(conservator="0", steps=(strange,))
    with pytest.raises(WeightsError, match="000000000000"):
        replay(recipe, noisy)
    assert replay(recipe, noisy, strict=False).steps == 1


def test_wrong_recipes(tmp_path: Path, noisy: np.ndarray) -> None:
    with pytest.raises(MissingFileError, match="nothing"):
        replay(tmp_path / "nothing.json", noisy)
    (tmp_path / "recipe.json").write_text('{"steps": 3}')
    with pytest.raises(UsageError, match="no recipe"):
        replay(tmp_path, noisy)
    gone = STEP.model_copy(update={"restorer": "classical-gone"})
    with pytest.raises(UnknownNameError, match="classical-gone"):
        replay(Recipe(conservator="0", steps=(gone,)), noisy)


def test_a_mix_shows_one_result_inside_and_another_outside(noisy: np.ndarray) -> None:
    left = Region(name="the left half", box=(0, 0, 0.5, 1))
    weak = STEP.model_copy(update={"degradations": {Kind.NOISE: 5.0}, "source": 0})
    mix = MixStep(under=1, over=2, region=left)
    strong, soft = (replay(Recipe(conservator="0", steps=(s,)), noisy) for s in (STEP, weak))
    mixed = replay(Recipe(conservator="0", steps=(STEP, weak, mix)), noisy)
    np.testing.assert_array_equal(mixed.array[:, :70], soft.array[:, :70])
    np.testing.assert_array_equal(mixed.array[:, 90:], strong.array[:, 90:])
    nowhere = mix.model_copy(update={"region": Region(name="the sky", found="sky")})
    again = replay(Recipe(conservator="0", steps=(STEP, weak, nowhere)), noisy)
    np.testing.assert_array_equal(again.array, strong.array)


def test_steps_follow_their_sources() -> None:
    with pytest.raises(ValueError, match="later step"):
        Recipe(conservator="0", steps=(STEP.model_copy(update={"source": 1}),))
