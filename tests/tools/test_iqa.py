"""Quality metrics: right values, right direction, bounded, and never a download."""

from __future__ import annotations

import itertools
import math
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from conservator.restorers.errors import BackendMissingError, UnknownNameError, UsageError
from conservator.tools.iqa import METRICS, SkipReason, available, card_named, score
from conservator.tools.iqa.fit_niqe import features_of, fit, main
from conservator.tools.iqa.offline import no_network, what_is_missing
from conservator.tools.iqa.regions import CROP_SIDE, PIXEL_LIMIT, crops_of, rows_of
from conservator.tools.iqa.resident import PRISTINE, resident

OFFLINE = ["psnr", "psnry", "ssim", "ms_ssim", "fsim", "vsi", "gmsd", "piqe", "niqe", "entropy"]
FULL_REFERENCE = ["psnr", "psnry", "ssim", "ms_ssim", "fsim", "vsi", "gmsd"]


def photo(name: str = "astronaut", side: int = 208) -> np.ndarray:
    return (getattr(data, name)()[40 : 40 + side, 120 : 120 + side] / 255).astype(np.float32)


def noisy(image: np.ndarray, sigma: float) -> np.ndarray:
    field = np.random.default_rng(7).standard_normal(image.shape).astype(np.float32)
    return np.clip(image + sigma / 255 * field, 0, 1)


def blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    return gaussian_filter(image, (sigma, sigma, 0))


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    return tmp_path


class TestValues:
    def test_psnr_agrees_with_scikit_image(self):
        clean = photo()
        bad = noisy(clean, 20)
        expected = peak_signal_noise_ratio(clean, bad, data_range=1)
        assert score(bad, clean, ["psnr"])["psnr"] == pytest.approx(expected, abs=0.01)

    def test_ssim_agrees_with_scikit_image(self):
        clean = photo()
        bad = noisy(clean, 20)
        luma = [np.round(x @ np.array([0.299, 0.587, 0.114]) * 255) for x in (clean, bad)]
        _, field = structural_similarity(
            *luma,
            data_range=255,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            full=True,
        )
        expected = field[5:-5, 5:-5].mean()
        assert score(bad, clean, ["ssim"])["ssim"] == pytest.approx(expected, abs=2e-3)

    def test_identical_pictures_reach_the_end_of_each_range(self):
        scores = score(photo(), photo(), FULL_REFERENCE)
        for name, value in scores.items():
            card = METRICS[name]
            best = card.high if card.higher_is_better else card.low
            assert value == pytest.approx(best, abs=1e-3)

    def test_bands_give_the_same_psnr_as_the_whole(self):
        clean = np.tile(photo(), (6, 6, 1))
        assert clean.shape[0] * clean.shape[1] > PIXEL_LIMIT
        bad = noisy(clean, 10)
        expected = peak_signal_noise_ratio(clean, bad, data_range=1)
        assert score(bad, clean, ["psnr"])["psnr"] == pytest.approx(expected, abs=0.01)

    def test_tensors_arrays_and_bytes_score_alike(self):
        array = photo()
        tensor = torch.from_numpy(array.transpose(2, 0, 1).copy())[None]
        by_array = score(array, metrics=["entropy", "niqe"])
        assert score(tensor, metrics=["entropy", "niqe"]) == by_array
        assert score((array * 255).round().astype(np.uint8), metrics=["niqe"])["niqe"] == (
            pytest.approx(by_array["niqe"], rel=1e-3)
        )

    @pytest.mark.parametrize("name", ["astronaut", "coffee"])
    def test_every_metric_falls_as_noise_grows(self, name):
        clean = photo(name)
        ladder = [score(noisy(clean, s), clean, OFFLINE) for s in (5, 15, 30, 50)]
        for metric in set(OFFLINE) - {"entropy"}:
            self.assert_worsens(metric, [step[metric] for step in ladder])

    def test_every_metric_falls_as_blur_grows(self):
        clean = photo()
        ladder = [score(blurred(clean, s), clean, OFFLINE) for s in (0.7, 1.5, 3)]
        for metric in set(OFFLINE) - {"entropy"}:
            self.assert_worsens(metric, [step[metric] for step in ladder])

    def test_entropy_falls_with_the_tonal_range(self):
        values = [score(photo() * k, metrics=["entropy"])["entropy"] for k in (1, 0.5, 0.2)]
        self.assert_worsens("entropy", values)

    @staticmethod
    def assert_worsens(metric: str, values: list[float]) -> None:
        sign = 1 if METRICS[metric].higher_is_better else -1
        assert all(sign * a > sign * b for a, b in itertools.pairwise(values)), (metric, values)


class TestAvailability:
    def test_what_needs_no_weights_is_ready(self, empty_cache):
        state = available()
        assert set(state) == set(METRICS)
        assert all(state[name].ready for name in OFFLINE)

    @pytest.mark.parametrize("name", ["lpips", "dists", "musiq", "maniqa", "clipiqa", "topiq_nr"])
    def test_a_metric_without_weights_is_named_and_nothing_is_fetched(
        self, name, empty_cache, monkeypatch
    ):
        reached = []
        monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: reached.append(a))
        clean = photo(side=240)
        card = METRICS[name]
        scores = score(clean, clean if card.needs_reference else None, [name])
        assert name not in scores
        assert scores.skipped[name].reason is SkipReason.WEIGHTS
        assert name in scores.skipped[name].why
        assert Path(card.needs_weights[0]).name in scores.skipped[name].why
        assert not reached
        assert not list(empty_cache.rglob("*"))

    def test_metrics_left_to_choose_leave_out_what_is_not_there(self, empty_cache):
        scores = score(photo())
        assert set(scores) == {name for name, state in available().items() if state.ready} - set(
            FULL_REFERENCE
        )
        assert not scores.skipped

    def test_a_file_that_breaks_its_promised_checksum_is_refused(self, empty_cache):
        folder = empty_cache / "torch" / "hub" / "pyiqa"
        folder.mkdir(parents=True)
        (folder / "musiq_koniq_ckpt-e95806b9.pth").write_bytes(b"not the weights")
        assert "checksum" in what_is_missing(METRICS["musiq"])
        assert not available()["musiq"].ready

    def test_the_guard_stops_pyiqa_from_fetching(self, empty_cache):
        with pytest.raises(BackendMissingError, match="musiq tried to download"):
            resident(METRICS["musiq"], "cpu")

    def test_the_guard_is_lifted_afterwards(self):
        before = socket.socket.connect
        with no_network("x"), pytest.raises(BackendMissingError):
            socket.create_connection(("127.0.0.1", 9), timeout=1)
        assert socket.socket.connect is before
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), timeout=5).close()

    def test_importing_the_package_loads_neither_torch_nor_pyiqa(self):
        code = (
            "import sys, conservator.tools.iqa as iqa; iqa.available();"
            "sys.exit(any(m in sys.modules for m in ('torch', 'pyiqa')))"
        )
        environment = {"PYTHONPATH": str(Path(__file__).parents[2] / "src"), "PATH": ""}
        subprocess.run([sys.executable, "-c", code], check=True, env=environment)


class TestRefusals:
    def test_an_unknown_metric(self):
        with pytest.raises(UnknownNameError, match=r"ssimm.*ms_ssim"):
            score(photo(), metrics=["ssimm"])

    def test_names_are_read_tolerantly(self):
        assert card_named(" MS-SSIM ").name == "ms_ssim"

    def test_sizes_that_differ(self):
        with pytest.raises(UsageError, match=r"208x208.*200x200"):
            score(photo(), photo(side=200), ["psnr"])

    def test_a_reference_that_is_missing(self):
        with pytest.raises(UsageError, match="psnr, ssim"):
            score(photo(), metrics=["psnr", "ssim", "niqe"])

    @pytest.mark.parametrize(
        ("image", "says"),
        [
            (np.zeros((8, 8), np.float32), r"\(8, 8\)"),
            (np.zeros((8, 8, 3), np.int32), "int32"),
            (np.full((8, 8, 3), 255.0), "255"),
            (np.full((8, 8, 3), np.nan), "nan"),
            (torch.zeros(3, 8, 8), r"\(3, 8, 8\)"),
            (torch.zeros(2, 3, 8, 8), r"\(2, 3, 8, 8\)"),
        ],
    )
    def test_what_is_not_a_picture(self, image, says):
        with pytest.raises(UsageError, match=says):
            score(image, metrics=["entropy"])

    @pytest.mark.parametrize("side", [1, 3, 10, 31, 160, 191])
    def test_small_pictures_are_skipped_with_a_reason(self, side):
        tiny = photo(side=side)
        scores = score(tiny, tiny, OFFLINE)
        for name in OFFLINE:
            small = side < METRICS[name].min_side
            assert (name in scores) is not small
            if small:
                assert scores.skipped[name].reason is SkipReason.TOO_SMALL
                assert f"{side}x{side}" in scores.skipped[name].why

    def test_each_metric_runs_at_its_smallest_side(self):
        for name in OFFLINE:
            side = METRICS[name].min_side
            tiny = photo("coffee", side)
            assert (
                math.isfinite(score(tiny, tiny, [name])[name])
                if METRICS[name].needs_reference
                else math.isfinite(score(tiny, metrics=[name])[name])
            )

    def test_a_black_picture_gives_reasons_not_numbers(self):
        scores = score(np.zeros((200, 200, 3), np.float32), metrics=["piqe", "niqe", "entropy"])
        assert scores.skipped["piqe"].reason is SkipReason.NOT_A_NUMBER
        assert scores.skipped["niqe"].reason is SkipReason.NOT_A_NUMBER
        assert all(math.isfinite(value) for value in scores.values())


class TestRegions:
    @pytest.mark.parametrize("size", [(1200, 1700), (1700, 1200), (300, 9000), (5000, 460)])
    def test_crops_lie_inside_and_apart(self, size):
        boxes = crops_of(*size)
        assert len(boxes) == 6
        seen = np.zeros(size, np.uint8)
        for top, left, height, width in boxes:
            assert top >= 0 and left >= 0
            assert (height, width) == (min(CROP_SIDE, size[0]), min(CROP_SIDE, size[1]))
            assert seen[top : top + height, left : left + width].shape == (height, width)
            seen[top : top + height, left : left + width] += 1
        assert seen.max() == 1

    def test_small_pictures_are_seen_whole(self):
        assert crops_of(512, 768) == ((0, 0, 512, 768),)

    @pytest.mark.parametrize("size", [(1, 1), (3000, 2000), (7, 3_000_000)])
    def test_rows_tile_the_picture(self, size):
        boxes = rows_of(*size)
        assert sum(box[2] * box[3] for box in boxes) == size[0] * size[1]
        assert [box[0] for box in boxes] == list(
            itertools.accumulate([0] + [box[2] for box in boxes[:-1]])
        )

    def test_a_large_picture_is_scored_on_crops(self):
        large = np.tile(photo(), (6, 6, 1))
        scores = score(large, metrics=["piqe"])
        assert scores.crops == 6
        assert score(photo(), metrics=["piqe"]).crops == 0


class TestPristineNiqe:
    def test_the_parameters_are_a_gaussian_of_36_features(self):
        assert PRISTINE.stat().st_size < 20_000
        with np.load(PRISTINE) as fitted:
            mean, covariance = fitted["mean"], fitted["covariance"]
        assert mean.shape == (36,)
        assert covariance.shape == (36, 36)
        assert np.allclose(covariance, covariance.T)
        assert np.linalg.eigvalsh(covariance).min() > 0

    def test_features_are_those_that_pyiqa_scores_with(self):
        from pyiqa.archs.niqe_arch import niqe

        picture = (photo(side=192) * 255).round().astype(np.uint8)
        rows = features_of(picture)
        assert 1 <= len(rows) <= 4
        assert rows.shape[1] == 36
        with np.load(PRISTINE) as fitted:
            mean = torch.from_numpy(fitted["mean"])[None]
            covariance = torch.from_numpy(fitted["covariance"])[None]
        luma = torch.from_numpy(np.round(picture @ np.array([0.299, 0.587, 0.114])))[None, None]
        flat = np.tile(picture[:96, :96], (2, 2, 1))
        same = features_of(flat)
        assert np.isfinite(same).all()
        whole = float(niqe(luma, mean, covariance))
        assert score(picture, metrics=["niqe"])["niqe"] == pytest.approx(whole, rel=0.02)

    def test_too_few_patches_are_refused(self):
        with pytest.raises(UsageError, match="too few"):
            fit([(photo(side=192) * 255).astype(np.uint8)])

    def test_the_command_names_its_usage(self, capsys):
        assert main([]) == 2
        assert "fit_niqe FOLDER" in capsys.readouterr().err

    def test_nothing_is_printed_while_metrics_are_built(self):
        code = (
            "import numpy as np; from conservator.tools.iqa import score;"
            "score(np.random.default_rng(0).random((200, 200, 3)), metrics=['niqe', 'piqe'])"
        )
        environment = {"PYTHONPATH": str(Path(__file__).parents[2] / "src"), "PATH": ""}
        run = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            env=environment,
            capture_output=True,
            text=True,
        )
        assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
