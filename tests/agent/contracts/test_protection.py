"""Protected parts come back as they came in: in the file, in a replay, in what is scored and reported."""

import json
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from skimage import data

from conservator import RestorationResult, replay, restore
from conservator.agent.errors import InputError
from conservator.policies.preset import Preset
from conservator.policies.targets import Clause

BOX = (10, 20, 40, 30)


def eight_bits(pixels: np.ndarray) -> np.ndarray:
    return (pixels * 255).round().astype(np.uint8)


def inside(pixels: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    left, top, width, height = box
    return pixels[top : top + height, left : left + width]


@pytest.fixture(scope="module")
def protected(
    noisy: np.ndarray, policy: Preset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, RestorationResult]:
    """A run on a file that protects a box and blends, with the picture."""
    path = tmp_path_factory.mktemp("protected") / "noisy.png"
    Image.fromarray(noisy).save(path)
    result = restore(
        path,
        policy=policy,
        protect="10,20,40,30",
        targets="noise<=medium,ssim_to_input>=0.75",
    )
    return path, result


def test_protected_pixels_are_the_same_in_the_file(
    protected: tuple[Path, RestorationResult], noisy: np.ndarray
) -> None:
    _, result = protected
    assert result.changed and result.path is not None
    saved = np.asarray(Image.open(result.path).convert("RGB"))
    np.testing.assert_array_equal(inside(saved, BOX), inside(noisy, BOX))
    far = saved[80:].astype(float) - noisy[80:]
    assert np.abs(far).mean() > 3
    # The border outside of the box is soft: neither the input nor the treatment.
    beside = np.abs(saved[20:50, 50:54].astype(float) - noisy[20:50, 50:54]).mean(axis=(0, 2))
    assert beside[0] < beside[-1] < np.abs(far).mean() * 1.5


def test_a_replay_protects_the_same(
    protected: tuple[Path, RestorationResult], tmp_path: Path
) -> None:
    path, result = protected
    assert result.run_dir is not None and result.path is not None
    assert [step.blend for step in result.recipe.steps] == [0.6]  # type: ignore[union-attr]
    again = replay(result.run_dir, path, output=tmp_path / "again.png")
    assert not isinstance(again, tuple) and again.path is not None
    assert again.path.read_bytes() == result.path.read_bytes()


def test_a_replay_on_another_size(
    protected: tuple[Path, RestorationResult], noisy: np.ndarray, policy: Preset
) -> None:
    _, result = protected
    other = np.ascontiguousarray(noisy[:120, :140])
    with pytest.raises(InputError, match="px of a 160x160 photo, this one is 140x120"):
        replay(result.recipe, other)
    shares = restore(noisy, policy=policy, protect="25%,25%,50%,50%").recipe
    replayed = replay(shares, other)
    middle = (35, 30, 70, 60)
    np.testing.assert_array_equal(inside(eight_bits(replayed.array), middle), inside(other, middle))
    assert np.abs(eight_bits(replayed.array)[:15].astype(int) - other[:15]).mean() > 3


def test_a_folder_goes_on_past_a_photo_of_another_size(
    protected: tuple[Path, RestorationResult], noisy: np.ndarray, tmp_path: Path
) -> None:
    for name, size in (("a.png", 120), ("b.png", 160)):
        Image.fromarray(noisy[:size]).save(tmp_path / name)
    small, own = replay(protected[1].recipe, tmp_path, output=tmp_path / "out")  # type: ignore[misc]
    assert "give it in percent" in small.error
    assert own.error == "" and own.path is not None


def test_text_comes_back_as_it_was(pictures: dict[str, np.ndarray], policy: Preset) -> None:
    sign, clean_sign = pictures["sign"], pictures["clean sign"].astype(int)
    result = restore(sign, policy=policy, protect="text")
    assert result.changed
    ink = np.abs(clean_sign - clean_sign[0, -1]).max(axis=2) > 40
    ink[:, :162] = False
    assert ink.sum() > 500
    np.testing.assert_array_equal(eight_bits(result.array)[ink], sign[ink])
    (clause,) = result.contract
    assert (clause.about, clause.text, clause.met) == ("protect", "protect the text", True)
    assert 0.02 < (clause.value or 0) < 0.2


def test_what_is_not_found_is_a_note(noisy: np.ndarray, policy: Preset) -> None:
    result = restore(noisy, policy=policy, protect=["face", "0,0,160,100"])
    assert any("protect the face: not found" in note for note in result.notes)
    assert any("62% of the photo is protected" in note for note in result.notes)


def test_lossy_outputs_are_protected_before_coding(
    noisy: np.ndarray, policy: Preset, tmp_path: Path
) -> None:
    result = restore(noisy, policy=policy, protect="10,20,40,30", output=tmp_path / "out.jpg")
    (clause,) = result.contract
    assert clause.says.endswith("as it came in before coding")
    np.testing.assert_array_equal(inside(eight_bits(result.array), BOX), inside(noisy, BOX))


@pytest.mark.parametrize("depth", ["uint16", "profile"])
def test_other_depths_and_profiles_keep_their_samples(
    depth: str, noisy: np.ndarray, policy: Preset, tmp_path: Path
) -> None:
    if depth == "uint16":
        deep = noisy.astype(np.uint16) * 257 + 3
        result = restore(deep, policy=policy, protect="10,20,40,30")
        got = (result.array * 65535).round().astype(np.uint16)
        np.testing.assert_array_equal(inside(got, BOX), inside(deep, BOX))
        assert result.changed
        return
    path = tmp_path / "p3.png"
    Image.fromarray(noisy).save(path, icc_profile=imagecodecs.cms_profile("adobergb"))
    saved = restore(path, policy=policy, protect="10,20,40,30").path
    assert saved is not None
    np.testing.assert_array_equal(
        inside(np.asarray(Image.open(saved).convert("RGB")), BOX), inside(noisy, BOX)
    )


def test_scores_are_those_of_the_protected_picture(
    protected: tuple[Path, RestorationResult], noisy: np.ndarray
) -> None:
    from skimage.metrics import structural_similarity

    _, result = protected
    weights = np.array([0.299, 0.587, 0.114])
    expected = structural_similarity(
        noisy / 255 @ weights,
        np.asarray(result.array, float) @ weights,
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    clause = next(c for c in result.contract if c.text.startswith("ssim_to_input"))
    assert clause.value == pytest.approx(expected, abs=1e-4)


def test_the_report_holds_the_contract(protected: tuple[Path, RestorationResult]) -> None:
    _, result = protected
    assert result.run_dir is not None
    report = json.loads((result.run_dir / "report.json").read_text())
    clauses = [Clause.model_validate(row) for row in report["contract"]]
    assert tuple(clauses) == result.contract
    assert [(c.about, c.met) for c in clauses] == [
        ("target", True),
        ("target", True),
        ("protect", True),
    ]
    assert report["recipe"]["protect"][0]["size"] == [160, 160]


def test_photos_of_faces_keep_the_face(policy: Preset) -> None:
    photo = np.ascontiguousarray(data.astronaut()[:300, 60:380])
    noise = np.random.default_rng(2).normal(0, 20, photo.shape)
    noisy = np.clip(photo + noise, 0, 255).round().astype(np.uint8)
    result = restore(noisy, policy=policy, protect="face", targets="noise<=low")
    assert result.changed
    got = eight_bits(result.array)
    # Eyes, nose and mouth.
    np.testing.assert_array_equal(got[80:140, 140:190], noisy[80:140, 140:190])
    (_, clause) = result.contract
    assert clause.value and clause.met
