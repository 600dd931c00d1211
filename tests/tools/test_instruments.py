"""Instruments: numbers close to what was put in, nothing found where nothing is wrong, bounded and typed."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage import data

from conservator.restorers.degradations import synthesis
from conservator.restorers.degradations.vocabulary import (
    ConditionReport,
    Finding,
    Kind,
    Level,
    level_of,
)
from conservator.restorers.errors import UsageError, WeightsError
from conservator.tools.image_io import load
from conservator.tools.instruments import calibration as calibration_module
from conservator.tools.instruments import inspect_picture, measure
from conservator.tools.instruments.calibrate import labels_of
from conservator.tools.instruments.calibration import calibration
from conservator.tools.instruments.classical import (
    READ,
    classical_findings,
    confidence_of,
    jpeg_from_tables,
    severity_in,
    undrawn,
)
from conservator.tools.instruments.compression import luma_table, quality_of_tables, traces_of
from conservator.tools.instruments.dropout import losses_of
from conservator.tools.instruments.edges import readings as edge_readings
from conservator.tools.instruments.fusion import fused
from conservator.tools.instruments.learned import estimator_missing, learned_estimate
from conservator.tools.instruments.noise import readings as noise_readings
from conservator.tools.instruments.readings import examine
from conservator.tools.instruments.sample import PIXEL_LIMIT, luma_of, sample_of
from conservator.tools.instruments.spectrum import readings as spectrum_readings
from conservator.tools.instruments.streaks import readings as streak_readings


@lru_cache(maxsize=8)
def photo(name: str = "coffee", side: int = 320) -> np.ndarray:
    image = getattr(data, name)()[:side, 60 : 60 + side]
    return np.ascontiguousarray(image / 255).astype(np.float32)


def tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None]


def array(image: torch.Tensor) -> np.ndarray:
    return np.ascontiguousarray(synthesis.quantise8(image)[0].permute(1, 2, 0).numpy())


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def noisy(image: np.ndarray, sigma: float) -> np.ndarray:
    return array(synthesis.gaussian_noise(tensor(image), [sigma], generator()))


def jpeg(image: np.ndarray, quality: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray((image * 255).round().astype(np.uint8)).save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def decoded(data_: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data_))).astype(np.float32) / 255


def classical(image: np.ndarray) -> dict[Kind, Finding]:
    return classical_findings(examine(sample_of(image)))


class TestNoise:
    @pytest.mark.parametrize("name", ["coffee", "astronaut"])
    @pytest.mark.parametrize("sigma", [5, 15, 25, 40])
    def test_sigma_is_measured(self, name, sigma):
        finding = classical(noisy(photo(name), sigma))[Kind.NOISE]
        assert finding.value == pytest.approx(sigma, rel=0.1)
        assert finding.confidence > 0.9
        assert finding.level == level_of(Kind.NOISE, sigma)

    def test_texture_is_not_taken_for_noise(self):
        texture = np.repeat(data.brick()[:320, :320, None], 3, axis=2).astype(np.float32) / 255
        values = noise_readings(sample_of(texture))
        louder = noise_readings(sample_of(noisy(texture, 20)))
        assert np.exp(values["noise_patch"]) < 0.5 * np.exp(louder["noise_patch"])

    def test_a_grey_photo_is_measured_like_a_colour_photo(self):
        grey = np.repeat(photo().mean(axis=2, keepdims=True), 3, axis=2)
        field = np.random.default_rng(1).standard_normal(grey.shape[:2])[..., None]
        finding = classical(np.clip(grey + 20 / 255 * field, 0, 1).astype(np.float32))[Kind.NOISE]
        assert finding.value == pytest.approx(20, rel=0.15)

    def test_noise_survives_in_the_flat_readings_after_jpeg(self):
        before = noise_readings(sample_of(decoded(jpeg(photo(), 60))))
        after = noise_readings(sample_of(decoded(jpeg(noisy(photo(), 25), 60))))
        assert after["noise_flat_1"] > before["noise_flat_1"] + 0.5


class TestJpeg:
    @pytest.mark.parametrize("quality", [5, 10, 20, 30, 50, 75, 90])
    def test_quality_from_pixels(self, quality):
        finding = classical(decoded(jpeg(photo(), quality)))[Kind.JPEG]
        assert finding.value == pytest.approx(quality, abs=1)
        assert finding.source == "instrument"
        assert finding.confidence > 0.9

    def test_the_grid_is_found_after_a_crop(self):
        traces = traces_of(sample_of(decoded(jpeg(photo(), 30))[3:, 5:]))
        assert traces.corner == (5, 3)
        assert traces.quality == pytest.approx(30, abs=1)

    def test_the_coarser_of_two_compressions_is_reported(self):
        twice = decoded(jpeg(decoded(jpeg(photo(), 15)), 95))
        assert traces_of(sample_of(twice)).quality == pytest.approx(15, abs=1)

    def test_a_clean_photo_has_no_traces(self):
        clean = gaussian_filter(photo("astronaut"), (0.6, 0.6, 0))
        traces = traces_of(sample_of(clean))
        assert traces.surprise < 8
        assert traces.blockiness < 1.1

    @pytest.mark.parametrize("quality", [1, 10, 49, 50, 75, 95, 100])
    def test_quality_from_standard_tables_is_exact(self, quality):
        tables = Image.open(io.BytesIO(jpeg(photo(side=32), quality))).quantization
        assert quality_of_tables([tables[0]]) == (quality, 1.0)
        assert (luma_table(quality).ravel() == tables[0]).all()

    def test_foreign_tables_give_the_nearest_quality_with_less_confidence(self):
        table = np.clip(
            luma_table(40).astype(float) * 1.07 + np.arange(64).reshape(8, 8) % 3, 1, 255
        )
        quality, confidence = quality_of_tables([table.astype(int).ravel().tolist()])
        assert 33 <= quality <= 42
        assert 0.5 < confidence < 1

    def test_tables_outrank_pixels_unless_the_pixels_saw_worse(self):
        fine, coarse = luma_table(95).ravel().tolist(), luma_table(20).ravel().tolist()
        seen = Finding(kind=Kind.JPEG, value=20, confidence=0.98, source="instrument")
        assert jpeg_from_tables([fine], seen) is seen
        assert jpeg_from_tables([coarse], seen).source == "metadata"
        unsure = seen.model_copy(update={"confidence": 0.4})
        assert jpeg_from_tables([fine], unsure).value == 95


class TestLosses:
    @pytest.mark.parametrize("fraction", [0.01, 0.05, 0.15])
    @pytest.mark.parametrize("salt", [0.0, 0.5])
    def test_pepper_is_counted(self, fraction, salt):
        hurt = array(synthesis.pepper_noise(tensor(photo()), [fraction], generator(), salt=[salt]))
        finding = classical(hurt)[Kind.PEPPER_NOISE]
        assert finding.value == pytest.approx(fraction, rel=0.15, abs=0.002)

    @pytest.mark.parametrize("style", ["blocks", "scratches", "strokes"])
    @pytest.mark.parametrize("fill", [0.0, 0.5, 1.0])
    def test_masks_are_counted(self, style, fill):
        clean = tensor(photo("chelsea"))
        hurt = synthesis.mask(clean, [0.06], generator(), style=[style], fill=[fill])
        covered = float((hurt != clean).any(dim=1).float().mean())
        losses = losses_of(sample_of(array(hurt)))
        assert losses.flat == pytest.approx(covered, rel=0.15)
        assert classical(array(hurt))[Kind.MASK].value == pytest.approx(covered, rel=0.15)

    def test_a_mask_is_seen_through_jpeg(self):
        hurt = array(synthesis.mask(tensor(photo()), [0.1], generator(), fill=[0.5]))
        assert losses_of(sample_of(decoded(jpeg(hurt, 60)))).nearly > 0.05

    def test_a_clipped_sky_is_not_a_mask(self):
        sky = np.linspace(1.4, 0.2, 320, dtype=np.float32)[:, None, None] * np.ones((1, 320, 3))
        sky = np.clip(sky, 0, 1).astype(np.float32)
        assert losses_of(sample_of(sky)).flat == 0
        assert losses_of(sample_of(sky)).clipped > 0.2


class TestOrdering:
    """The raw readings move the right way, whatever the calibration makes of them."""

    def test_edges_widen_with_defocus(self):
        widths = [
            edge_readings(sample_of(array(synthesis.defocus_blur(tensor(photo()), [r]))))
            for r in (0.5, 2.0, 4.0, 6.0)
        ]
        values = [w["edge_2_p25"] + w["edge_1_p25"] for w in widths]
        assert values == sorted(values)
        assert values[-1] > values[0] + 1

    @pytest.mark.parametrize("angle", [0.0, 40.0, 90.0])
    def test_motion_widens_one_direction_and_defocus_all(self, angle):
        moved = edge_readings(
            sample_of(array(synthesis.motion_blur(tensor(photo("astronaut")), [5], [angle])))
        )
        defocused = edge_readings(
            sample_of(array(synthesis.defocus_blur(tensor(photo("astronaut")), [4])))
        )
        assert moved["edge_2_along"] > defocused["edge_2_along"] + 0.3

    def test_power_at_high_frequencies_falls_with_resolution(self):
        levels = []
        for factor in (1.0, 2.0, 4.0):
            lost = array(synthesis.down_up(tensor(photo()), [factor]))
            levels.append(spectrum_readings(sample_of(lost))["band_10"])
        assert levels[0] > levels[1] + 1 > levels[2] + 1.5

    @pytest.mark.parametrize("angle", [-30.0, 0.0, 25.0])
    def test_rain_shows_as_bright_lines_of_one_direction(self, angle):
        clean = tensor(photo())
        wet = array(synthesis.rain(clean, [60], [30], [angle], generator()))
        dry, rain = (streak_readings(sample_of(x)) for x in (photo(), wet))
        assert rain["line_1_steep"] > dry["line_1_steep"] + 1
        assert rain["vote_7_steep"] > dry["vote_7_steep"] + 0.8
        assert rain["vote_17_steep"] > dry["vote_17_steep"] + 0.8

    def test_snow_shows_as_bright_blobs(self):
        white = array(synthesis.snow(tensor(photo()), [0.1], [2.0], generator()))
        dry, snow = (streak_readings(sample_of(x)) for x in (photo(), white))
        assert snow["blob_2_bright"] - snow["blob_2_dark"] > (
            dry["blob_2_bright"] - dry["blob_2_dark"] + 0.3
        )


@dataclass(frozen=True)
class Damage:
    kind: Kind
    value: float
    image: np.ndarray


def strong_damages() -> list[Damage]:
    x = tensor(photo("astronaut", 400))
    depth = synthesis.pseudo_depth(1, *x.shape[-2:], generator())
    return [
        Damage(Kind.DEFOCUS_BLUR, 5, array(synthesis.defocus_blur(x, [5]))),
        Damage(Kind.MOTION_BLUR, 6, array(synthesis.motion_blur(x, [6], [20]))),
        Damage(Kind.RAIN, 85, array(synthesis.rain(x, [85], [30], [10], generator()))),
        Damage(Kind.HAZE, 1.8, array(synthesis.haze(x, [1.8], [0.9], depth))),
        Damage(Kind.SNOW, 0.15, array(synthesis.snow(x, [0.15], [2], generator()))),
        Damage(Kind.LOW_LIGHT, 2.0, array(synthesis.low_light(x, [2.0], ["gamma"]))),
        Damage(Kind.LOW_RESOLUTION, 4, array(synthesis.down_up(x, [4]))),
    ]


class TestMeasure:
    @pytest.mark.parametrize("damage", strong_damages(), ids=lambda d: str(d.kind))
    def test_strong_damage_is_found(self, damage):
        assert classical(damage.image)[damage.kind].level >= Level.MEDIUM

    @pytest.mark.parametrize("name", ["astronaut", "coffee"])
    def test_good_photos_raise_few_alarms(self, name):
        # Shrunk, because scikit-image's own files carry traces of a camera's processing.
        clean = array(synthesis.downsample(tensor(photo(name, 400)), 1.25))
        alarms = [f for f in classical(clean).values() if f.level >= Level.MEDIUM]
        assert not alarms

    def test_there_is_one_finding_a_kind(self):
        findings = measure(photo())
        assert [f.kind for f in findings] == list(Kind)
        assert all(f.source == "instrument" for f in findings)

    def test_the_same_photo_measures_the_same(self):
        assert measure(photo()) == measure(photo().copy())

    def test_tables_are_used(self):
        tables = [luma_table(35).ravel().tolist()]
        finding = next(f for f in measure(photo(), jpeg_tables=tables) if f.kind is Kind.JPEG)
        assert (finding.value, finding.source, finding.confidence) == (35, "metadata", 1)

    def test_flat_and_tiny_pictures_are_measured_without_warnings(self):
        for image in (
            np.zeros((64, 64, 3), np.float32),
            np.ones((200, 30, 3), np.float32),
            np.full((24, 24, 3), 0.5, np.float32),
            np.zeros((25, 700, 3), np.float32),
        ):
            findings = measure(image)
            assert len(findings) == len(Kind)
            assert all(np.isfinite(f.value) and 0 <= f.confidence <= 1 for f in findings)

    def test_below_24_px_only_the_file_is_asked(self):
        speck = np.zeros((1, 1, 3), np.float32)
        assert measure(speck) == ()
        tables = [luma_table(35).ravel().tolist()]
        assert [f.kind for f in measure(speck, jpeg_tables=tables)] == [Kind.JPEG]

    @pytest.mark.parametrize(
        ("image", "says"),
        [
            (np.zeros((32, 32), np.float32), r"\(32, 32\)"),
            (np.zeros((32, 32, 3), np.uint8), "uint8"),
            (np.full((32, 32, 3), np.nan, np.float32), "nan"),
        ],
    )
    def test_what_is_not_a_photo_is_refused(self, image, says):
        with pytest.raises(UsageError, match=says):
            measure(image)


class TestSample:
    def test_large_photos_are_measured_on_crops_of_the_jpeg_grid(self):
        large = np.tile(photo(), (4, 5, 1))
        assert large.shape[0] * large.shape[1] > PIXEL_LIMIT
        sample = sample_of(large)
        assert len(sample.crops) == 6
        assert all(top % 8 == 0 and left % 8 == 0 for top, left in sample.corners)
        (top, left), crop = sample.corners[4], sample.crops[4]
        assert (large[top : top + len(crop), left : left + crop.shape[1]] == crop).all()
        assert max(sample.thumbnail.shape) == 192

    def test_a_large_photo_measures_like_a_small_one(self):
        large = np.tile(decoded(jpeg(noisy(photo(), 20), 40)), (4, 5, 1))
        finding = classical(large)[Kind.JPEG]
        assert finding.value == pytest.approx(40, abs=1)
        assert classical(np.tile(noisy(photo(), 20), (4, 5, 1)))[Kind.NOISE].value == (
            pytest.approx(20, rel=0.1)
        )

    def test_small_photos_are_seen_whole(self):
        sample = sample_of(photo())
        assert (sample.crops[0] == photo()).all()
        assert sample.lumas[0] == pytest.approx(luma_of(photo()))


class TestReport:
    def test_a_jpeg_file_is_judged_by_its_tables(self, tmp_path):
        path = tmp_path / "photo.jpg"
        path.write_bytes(jpeg(photo(), 30))
        report = inspect_picture(load(path))
        assert isinstance(report, ConditionReport)
        finding = report.finding(Kind.JPEG)
        assert finding is not None
        assert (finding.value, finding.source) == (30, "metadata")

    def test_a_png_of_a_jpeg_is_judged_by_its_pixels(self, tmp_path):
        path = tmp_path / "photo.png"
        Image.open(io.BytesIO(jpeg(photo(), 30))).save(path)
        finding = inspect_picture(load(path)).finding(Kind.JPEG)
        assert finding is not None
        assert finding.source == "instrument"
        assert finding.value == pytest.approx(30, abs=1)


class TestCalibration:
    def test_levels_are_distributions(self):
        table = calibration().levels(examine(sample_of(photo())).values)
        assert set(table) == set(Kind)
        for levels in table.values():
            assert levels.sum() == pytest.approx(1)
            assert levels.min() >= 0

    def test_labels_share_a_severity_between_its_anchors(self):
        rows = dict(zip(Kind, labels_of({Kind.NOISE: 22.5, Kind.JPEG: 10}), strict=True))
        assert rows[Kind.NOISE] == pytest.approx([0, 0, 0.5, 0.5, 0])
        assert rows[Kind.JPEG] == pytest.approx([0, 0, 0, 0, 1])
        assert rows[Kind.HAZE] == pytest.approx([1, 0, 0, 0, 0])

    def test_confidence_is_the_mass_near_the_answer(self):
        sure_absent = np.array([1.0, 0, 0, 0, 0])
        sure_high = np.array([0, 0, 0, 1.0, 0])
        torn = np.array([0.5, 0, 0, 0, 0.5])
        assert confidence_of(sure_absent, 0.0) == 1
        assert confidence_of(sure_high, 0.75) == 1
        assert confidence_of(torn, 0.5) == 0

    def test_the_likeliest_level_gives_the_severity_not_the_mean(self):
        torn = np.array([0.3, 0.1, 0.0, 0.1, 0.5])
        assert severity_in(torn) == pytest.approx((0.1 * 3 + 0.5 * 4) / 0.6 / 4)
        assert severity_in(np.array([1.0, 0, 0, 0, 0])) == 0.25

    def test_what_the_calibration_draws_to_the_middle_is_undrawn(self):
        for kind, read in READ.items():
            assert list(read) == sorted(read)
            for level, place in enumerate(read, 1):
                assert undrawn(kind, place / 4) == pytest.approx(level / 4)
            assert (undrawn(kind, 0), undrawn(kind, 1)) == (0, 1)
        assert undrawn(Kind.NOISE, 0.4) == 0.4

    def test_a_damaged_file_is_a_typed_error(self, tmp_path, monkeypatch):
        broken = tmp_path / "calibration.npz"
        broken.write_bytes(b"not an archive")
        monkeypatch.setattr(calibration_module, "WEIGHTS", broken)
        calibration.cache_clear()
        try:
            with pytest.raises(WeightsError, match="reinstall"):
                calibration()
        finally:
            calibration.cache_clear()


def finding(kind: Kind, value: float, confidence: float, source: str = "instrument") -> Finding:
    return Finding(kind=kind, value=value, confidence=confidence, source=source)


class TestFusion:
    def test_without_the_learned_estimator_everything_is_classical(self):
        own = {Kind.HAZE: finding(Kind.HAZE, 1.2, 0.7)}
        assert fused(own, {}) == (own[Kind.HAZE],)
        assert fused({}, own) == (own[Kind.HAZE],)

    def test_the_file_is_believed(self):
        own = finding(Kind.JPEG, 30, 0.6, "metadata")
        assert fused({Kind.JPEG: own}, {Kind.JPEG: finding(Kind.JPEG, 90, 1.0)}) == (own,)

    def test_what_was_counted_is_believed(self):
        own = finding(Kind.NOISE, 25, 0.97)
        assert fused({Kind.NOISE: own}, {Kind.NOISE: finding(Kind.NOISE, 5, 1.0)}) == (own,)

    def test_noise_lies_between_the_two_nearer_to_the_surer_one(self):
        own, other = finding(Kind.NOISE, 10, 0.6), finding(Kind.NOISE, 25, 0.98)
        (met,) = fused({Kind.NOISE: own}, {Kind.NOISE: other})
        assert (own.severity + other.severity) / 2 < met.severity < other.severity
        assert met.confidence == 0.98

    def test_where_both_see_it_the_classical_parameter_counts(self):
        own, other = finding(Kind.SNOW, 0.03, 0.7), finding(Kind.SNOW, 0.08, 0.9)
        (met,) = fused({Kind.SNOW: own}, {Kind.SNOW: other})
        assert (met.value, met.confidence) == (0.03, 0.9)

    def test_resolution_that_only_the_estimator_misses_is_not_lost(self):
        sharp = {Kind.LOW_RESOLUTION: finding(Kind.LOW_RESOLUTION, 1.0, 0.98)}
        learned = {Kind.LOW_RESOLUTION: finding(Kind.LOW_RESOLUTION, 2.8, 0.8)}
        assert fused(sharp, learned) == (sharp[Kind.LOW_RESOLUTION],)
        soft = {Kind.LOW_RESOLUTION: finding(Kind.LOW_RESOLUTION, 1.6, 0.8)}
        clear = {Kind.LOW_RESOLUTION: finding(Kind.LOW_RESOLUTION, 1.6, 0.97)}
        assert fused(soft, sharp) == (sharp[Kind.LOW_RESOLUTION],)
        assert fused(clear, sharp) == (clear[Kind.LOW_RESOLUTION],)
        enlarged = {Kind.LOW_RESOLUTION: finding(Kind.LOW_RESOLUTION, 3.0, 0.99)}
        assert fused(enlarged, learned) == (enlarged[Kind.LOW_RESOLUTION],)

    def test_lost_pixels_explain_a_guess_of_darkness_but_not_a_sure_one(self):
        lost = finding(Kind.MASK, 0.1, 0.95)
        for confidence, there in ((0.4, False), (0.7, True)):
            dark = finding(Kind.LOW_LIGHT, 0.6, confidence)
            with_mask = dict(
                zip(
                    (Kind.LOW_LIGHT, Kind.MASK),
                    fused({Kind.LOW_LIGHT: dark, Kind.MASK: lost}, {}),
                    strict=True,
                )
            )
            assert (with_mask[Kind.LOW_LIGHT].level > 0) is there
            assert fused({Kind.LOW_LIGHT: dark}, {}) == (dark,)

    def test_one_sure_eye_is_enough_for_what_hides_from_the_other(self):
        blind, seen = finding(Kind.NOISE, 0, 0.9), finding(Kind.NOISE, 25, 0.98)
        assert fused({Kind.NOISE: blind}, {Kind.NOISE: seen}) == (seen,)
        unsure = finding(Kind.NOISE, 25, 0.5)
        assert fused({Kind.NOISE: blind}, {Kind.NOISE: unsure}) == (blind,)

    def test_in_a_small_picture_both_must_see_it(self):
        blind, seen = finding(Kind.NOISE, 0, 0.9), finding(Kind.NOISE, 25, 0.98)
        assert fused({Kind.NOISE: blind}, {Kind.NOISE: seen}, small=True) == (blind,)
        dark, bright = finding(Kind.LOW_LIGHT, 1.2, 0.8), finding(Kind.LOW_LIGHT, 0, 0.8)
        assert fused({Kind.LOW_LIGHT: dark}, {Kind.LOW_LIGHT: bright}, small=True) == (bright,)
        assert fused({Kind.LOW_LIGHT: dark}, {Kind.LOW_LIGHT: bright}) == (dark,)

    def test_faint_noise_needs_both(self):
        own, other = finding(Kind.NOISE, 3.4, 0.97), finding(Kind.NOISE, 0, 0.9)
        assert fused({Kind.NOISE: own}, {Kind.NOISE: other}) == (other,)

    def test_the_seat_tells_whether_it_is_taken(self):
        estimate = learned_estimate(photo())
        assert (estimate is None) == bool(estimator_missing())
