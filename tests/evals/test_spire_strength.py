"""SPIRE's numbers on one photo: more is more, and another task's prompt leaves more noise."""

import json

import pytest
from PIL import Image
from skimage import data

from conservator.evals import spire_strength


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("photos")
    Image.fromarray(data.astronaut()[:300, 100:400]).save(folder / "astronaut.png")
    out = folder / "found.json"
    assert spire_strength.main(["--images", str(folder), "--out", str(out)]) == 0
    return json.loads(out.read_text())


def test_the_numbers_are_those_of_the_paper_and_a_row_each_comes_back(found: dict) -> None:
    assert found["pictures"] == 1
    assert found["numbers"]["denoise"] == [0.0, 0.03, 0.06, 0.12, 0.24]
    assert [len(found["means"][name]) for name in ("denoise", "deblur")] == [5, 5]
    assert len(found["weights"]) == 64


def test_noise_and_detail_fall_with_the_number(found: dict) -> None:
    rows = found["means"]["denoise"]
    (noisy,) = found["means"]["noisy input"]
    assert rows[-1]["noise_255"] < rows[0]["noise_255"] < noisy["noise_255"]
    assert rows[-1]["gradient"] < rows[0]["gradient"]
    assert max(row["psnr"] for row in rows) > noisy["psnr"] + 1


def test_the_wrong_task_leaves_more_noise(found: dict) -> None:
    (wrong,) = found["means"]["wrong task"]
    assert wrong["noise_255"] > found["means"]["denoise"][2]["noise_255"]


def test_means_and_steps_over_pictures() -> None:
    def picture(*noise: float) -> dict:
        rows = [{"noise_255": n, "gradient": n, "psnr": 30.0} for n in noise]
        return {"denoise": rows, "deblur": rows[::-1]}

    found = spire_strength.summary([picture(3, 2, 1), picture(3, 1, 2)])
    assert [row["noise_255"] for row in found["means"]["denoise"]] == [3, 1.5, 1.5]
    assert found["share_of_pictures_a_step"]["noise falls"] == [1.0, 0.5]
    assert found["monotonic"]["noise falls"] is False
