"""Listing samples over folders of pictures and of pairs, and making them into pixels."""

import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from conservator.evals.datasets import materialise, specs
from conservator.evals.sources import natural, source, source_below
from conservator.evals.task import Row, load_suite
from conservator.restorers.degradations.recipe import apply
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.errors import (
    CorruptImageError,
    ImageTooLargeError,
    InputError,
    MissingFileError,
    NotAnImageError,
    UsageError,
)
from made_tasks import NOISE, PHOTOS, photo, task


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    folder = tmp_path / "clean"
    folder.mkdir()
    for i, name in enumerate(PHOTOS):
        photo(name).save(folder / f"img{(1, 2, 10)[i]}.png")
    return folder


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    return tmp_path / "scratch"


def test_order_ids_and_limit(clean: Path) -> None:
    listed = specs(
        task(NOISE, Row(name="jpeg", recipe="jpeg:quality=20", group="g")), clean
    ).samples
    assert [s.sample_id for s in listed] == [
        *("noise/img1", "noise/img2", "noise/img10"),
        *("jpeg/img1", "jpeg/img2", "jpeg/img10"),
    ]
    assert {s.group for s in listed} == {"", "g"}
    assert len({s.seed for s in listed}) == 6
    two = specs(task(NOISE, Row(name="jpeg", recipe="jpeg:quality=20")), clean, limit=2).samples
    assert [Path(s.picture).name for s in two] == ["img1.png", "img2.png"] * 2
    with pytest.raises(UsageError, match="limit 0"):
        specs(task(NOISE), clean, limit=0)


def test_adding_a_file_changes_no_other_sample(clean: Path) -> None:
    before = {s.sample_id: s for s in specs(task(NOISE), clean, seed=3).samples}
    photo("coffee").save(clean / "img0.png")
    after = {s.sample_id: s for s in specs(task(NOISE), clean, seed=3).samples}
    assert len(after) == len(before) + 1
    assert all(after[sample_id] == spec for sample_id, spec in before.items())
    assert specs(task(NOISE), clean, seed=4).samples[0].seed != after["noise/img0"].seed


def test_rows_of_mio16_are_seeded_by_their_combination(clean: Path) -> None:
    one = specs(task(Row(name="x", recipe="mio16:C2")), clean).samples[0]
    assert one.seed == zlib.crc32(b"0/C2/img1.png")
    assert specs(task(NOISE), clean).samples[0].seed == zlib.crc32(b"0/noise/img1.png")
    suites = [load_suite("mio16"), load_suite("perception")]
    seeds = [{s.recipe: s.seed for s in specs(suite, clean).samples} for suite in suites]
    assert seeds[0]["mio16:A3"] == seeds[1]["mio16:A3"]


def test_only_some_samples(clean: Path) -> None:
    both = task(NOISE, Row(name="jpeg", recipe="jpeg:quality=20"))
    listed = specs(both, clean, sample_ids={"jpeg/img10"}, limit=1).samples
    assert [s.sample_id for s in listed] == ["jpeg/img10"]
    with pytest.raises(UsageError, match="'jpeg/nothing'"):
        specs(both, clean, sample_ids=["jpeg/nothing"])


def test_two_files_of_one_stem_get_their_own_ids(clean: Path) -> None:
    photo().save(clean / "img1.jpg")
    ids = [s.sample_id for s in specs(task(NOISE), clean).samples]
    assert ids == ["noise/img1.jpg", "noise/img1.png", "noise/img2", "noise/img10"]


def test_digest_follows_the_bytes(clean: Path) -> None:
    before = specs(task(NOISE), clean).samples
    photo("chelsea").save(clean / "img1.png")
    after = specs(task(NOISE), clean).samples
    assert before[0].digest != after[0].digest
    assert before[1].digest == after[1].digest


def test_several_places_are_measured_together(clean: Path, tmp_path: Path) -> None:
    other = tmp_path / "deeper" / "clean"
    shutil.copytree(clean, other)
    (other / "img2.png").unlink()
    listed = specs(task(NOISE), [clean, other]).samples
    assert [s.sample_id for s in listed] == [
        *("noise/clean/img1", "noise/clean/img2", "noise/clean/img10"),
        *("noise/clean-2/img1", "noise/clean-2/img10"),
    ]
    # Each is degraded as if it were measured alone.
    alone = {
        s.picture: s.seed for place in (clean, other) for s in specs(task(NOISE), place).samples
    }
    assert {s.picture: s.seed for s in listed} == alone
    first = specs(task(NOISE), [clean, other], limit=1).samples
    assert [s.sample_id for s in first] == ["noise/clean/img1", "noise/clean-2/img1"]
    for wrong in ([], [clean, clean]):
        with pytest.raises(UsageError, match="each once"):
            specs(task(NOISE), wrong)


def test_a_crop_is_the_centre_of_the_clean_picture(clean: Path, scratch: Path) -> None:
    (spec, *_) = specs(task(NOISE), clean, crop=32).samples
    sample = materialise(spec, scratch)
    whole = materialise(spec.model_copy(update={"crop": 0}), scratch / "whole")
    assert sample.clean is not None and whole.clean is not None
    assert whole.clean.shape == (48, 64, 3)
    assert np.array_equal(sample.clean, whole.clean[8:40, 16:48])
    assert sample.degraded.shape == (32, 32, 3)
    assert sample.path.parent == scratch
    assert np.array_equal(np.asarray(Image.open(sample.path)) / np.float32(255), sample.degraded)
    # A side that is shorter stays; the picture begins on a block of JPEG.
    wide = materialise(spec.model_copy(update={"crop": 50}), scratch / "wide")
    assert wide.clean is not None
    assert np.array_equal(wide.clean, whole.clean[:, :50])
    with pytest.raises(UsageError, match="crop 3"):
        specs(task(NOISE), clean, crop=3)


def test_a_crop_of_what_no_recipe_degrades(clean: Path, tmp_path: Path, scratch: Path) -> None:
    kept = materialise(specs(load_suite("clean-unchanged"), clean, crop=32).samples[0], scratch)
    assert kept.clean is not None and kept.clean.shape == (32, 32, 3)
    assert np.array_equal(kept.degraded, kept.clean)
    assert np.array_equal(np.asarray(Image.open(kept.path)) / np.float32(255), kept.degraded)
    folder = pairs(tmp_path / "set", ("lq", "gt"), {"a.png": "a.png"})
    photo(width=128, height=96).save(folder / "gt" / "a.png")
    (spec,) = specs(PAIRS, folder, crop=33).samples
    pair = materialise(spec, scratch)
    whole = materialise(spec.model_copy(update={"crop": 0}), scratch / "whole")
    assert pair.clean is not None and whole.clean is not None
    assert np.array_equal(pair.degraded, whole.degraded[16:32, 24:40])
    assert np.array_equal(pair.clean, whole.clean[32:64, 48:80])


def huge_header(path: Path) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )


def test_a_hostile_folder_is_listed_and_fails_one_by_one(tmp_path: Path, scratch: Path) -> None:
    folder = tmp_path / "mixed"
    (folder / "inner").mkdir(parents=True)
    photo().save(folder / "good.png")
    photo().save(folder / "broken.jpg", quality=90)
    whole = (folder / "broken.jpg").read_bytes()
    (folder / "broken.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "notes.txt").write_text("not a picture")
    (folder / "text.jpg").write_text("not a picture either")
    (folder / ".hidden.png").write_bytes(b"x")
    deep = np.asarray(photo(), np.uint16) * 257
    deep[0, 0] = (1, 300, 65535)
    tifffile.imwrite(folder / "deep.tif", deep, photometric="rgb")
    frames = [photo(), photo("coffee")]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    huge_header(folder / "huge.png")
    photo().convert("CMYK").save(folder / "inks.jpg")
    Image.fromarray(np.dstack([np.asarray(photo()), np.full((48, 64), 90, np.uint8)])).save(
        folder / "glass.png"
    )

    listing = specs(task(NOISE), folder)
    assert dict(listing.skipped) == {
        "notes.txt": "not a picture",
        ".hidden.png": "a hidden file",
        "inner/": "a folder; folders inside are not entered",
    }
    by_name = {Path(s.picture).name: s for s in listing.samples}
    assert len(by_name) == 8
    errors = {
        "broken.jpg": CorruptImageError,
        "text.jpg": NotAnImageError,
        "huge.png": ImageTooLargeError,
    }
    for name, error in errors.items():
        with pytest.raises(error, match=name.partition(".")[0]):
            materialise(by_name[name], scratch)
    for name in set(by_name) - set(errors):
        sample = materialise(by_name[name], scratch)
        assert sample.degraded.shape == (48, 64, 3), name
        assert sample.degraded.dtype == np.float32
    sample = materialise(by_name["deep.tif"], scratch)
    assert sample.clean is not None
    assert sample.clean[0, 0] == pytest.approx(np.array([1, 300, 65535]) / 65535, abs=1e-7)


def test_an_unreadable_file_is_listed_without_a_digest(clean: Path, scratch: Path) -> None:
    (clean / "gone.png").symlink_to(clean / "nowhere.png")
    listed = {s.sample_id: s for s in specs(task(NOISE), clean).samples}
    assert listed["noise/gone"].digest == ""
    with pytest.raises(MissingFileError):
        materialise(listed["noise/gone"], scratch)


def test_a_degraded_sample_replays_and_lies_on_disk_as_it_is(clean: Path, scratch: Path) -> None:
    spec = specs(task(Row(name="both", recipe="haze:beta=1+noise:sigma=25")), clean).samples[0]
    one, two = materialise(spec, scratch), materialise(spec, scratch)
    assert np.array_equal(one.degraded, two.degraded)
    assert one.path == two.path
    assert one.draws is not None and one.clean is not None
    assert np.array_equal(np.asarray(Image.open(one.path)) / np.float32(255), one.degraded)
    import torch

    again = apply(torch.from_numpy(np.array(one.clean)).permute(2, 0, 1)[None], one.draws)
    assert np.array_equal(again[0].permute(1, 2, 0).numpy(), one.degraded)
    assert one.truth is not None
    assert one.truth.degradations == {Kind.NOISE: 25, Kind.HAZE: 1}


def test_low_resolution_stays_small_unless_enlarged(clean: Path, scratch: Path) -> None:
    small, grown = (
        materialise(specs(task(row), clean).samples[0], scratch)
        for row in (
            Row(name="x", recipe="low_resolution:factor=2"),
            Row(name="y", recipe="low_resolution:factor=2", enlarge=True),
        )
    )
    assert small.degraded.shape == (24, 32, 3)
    assert grown.clean is not None and grown.degraded.shape == grown.clean.shape == (48, 64, 3)
    assert small.truth == grown.truth
    # What was lost stays lost.
    assert not np.allclose(grown.degraded, grown.clean, atol=0.02)


def test_a_clean_picture_is_its_own_reference(clean: Path, scratch: Path) -> None:
    sample = materialise(specs(load_suite("clean-unchanged"), clean).samples[0], scratch)
    assert sample.clean is not None
    assert np.array_equal(sample.degraded, sample.clean)
    assert sample.truth is not None and not sample.truth.degradations
    assert sample.path == clean / "img1.png"
    assert not scratch.exists()


def test_nobody_knows_a_real_photo(clean: Path, scratch: Path) -> None:
    sample = materialise(specs(load_suite("real-noref"), clean).samples[0], scratch)
    assert (sample.clean, sample.truth) == (None, None)
    told = task(Row(name="r", needs="real", truth={"defocus_blur": 2.0}))
    sample = materialise(specs(told, clean).samples[0], scratch)
    assert sample.clean is None and sample.truth is not None
    assert sample.truth.degradations == {Kind.DEFOCUS_BLUR: 2.0}


# ── pairs ───────────────────────────────────────────────────────────────────
PAIRS = task(Row(name="pairs"), needs="pairs")


def pairs(folder: Path, halves: tuple[str, str], names: dict[str, str], shift: int = 0) -> Path:
    """A folder of pairs; degraded name -> clean name; clean pictures are `shift` px larger on each side."""
    for half in halves:
        (folder / half).mkdir(parents=True, exist_ok=True)
    for degraded, clean_name in names.items():
        big = photo(width=64 + 2 * shift, height=48 + 2 * shift)
        big.save(folder / halves[1] / clean_name)
        big.crop((shift, shift, 64 + shift, 48 + shift)).save(folder / halves[0] / degraded)
    return folder


@pytest.mark.parametrize(
    ("halves", "degraded", "clean_name"),
    [
        (("degraded", "clean"), "a.png", "a.png"),
        (("LQ", "GT"), "a.jpg", "a.png"),
        (("hazy", "gt"), "1400_3.png", "1400.png"),
        (("hazy", "clear"), "0001_0.8_0.2.jpg", "0001.png"),
        (("input", "target"), "input7.png", "norain7.png"),
        (("rain", "norain"), "rain-001.png", "norain-001.png"),
        (("low", "high"), "low00690.png", "normal00690.png"),
        (("noisy", "clean"), "chair_11_real.JPG", "chair_11_mean.JPG"),
        (("lr", "hr"), "0801x4.png", "0801.png"),
    ],
)
def test_pairs_by_the_names_that_sets_use(
    tmp_path: Path, halves: tuple[str, str], degraded: str, clean_name: str
) -> None:
    folder = pairs(tmp_path / "set", halves, {degraded: clean_name})
    (spec,) = specs(PAIRS, folder).samples
    assert Path(spec.picture) == folder / halves[0] / degraded
    assert Path(spec.reference) == folder / halves[1] / clean_name


def test_many_to_one_and_what_has_no_partner(tmp_path: Path) -> None:
    names = {"1400_2.png": "1400.png", "1400_10.png": "1400.png", "1410_1.png": "1410.png"}
    folder = pairs(tmp_path / "sots", ("hazy", "gt"), names)
    photo().save(folder / "hazy" / "9999_1.png")
    photo().save(folder / "gt" / "7777.png")
    listing = specs(PAIRS, folder)
    assert [s.sample_id for s in listing.samples] == [
        "pairs/1400_2",
        "pairs/1400_10",
        "pairs/1410_1",
    ]
    assert set(listing.skipped) == {
        ("hazy/9999_1.png", "no picture in gt/ to it"),
        ("gt/7777.png", "no picture in hazy/ to it"),
    }
    # Clean halves are taken once each where clean pictures are needed.
    assert [Path(s.picture).name for s in specs(task(NOISE), folder).samples] == [
        "1400.png",
        "1410.png",
    ]


def test_a_border_is_cut_off_both_and_the_copy_holds_the_pixels(
    tmp_path: Path, scratch: Path
) -> None:
    folder = tmp_path / "set"
    pairs(folder, ("input", "target"), {"a.png": "a.png"}, shift=2)
    sample = materialise(specs(PAIRS, folder).samples[0], scratch)
    assert sample.clean is not None
    assert np.array_equal(sample.degraded, sample.clean)
    assert sample.path == folder / "input" / "a.png"
    # The other way round the degraded picture is cut, so the file holds other pixels than the sample.
    shutil.move(folder / "input", folder / "x")
    shutil.move(folder / "target", folder / "input")
    shutil.move(folder / "x", folder / "target")
    sample = materialise(specs(PAIRS, folder).samples[0], scratch)
    assert sample.degraded.shape == (48, 64, 3)
    assert sample.path.parent == scratch
    assert np.array_equal(np.asarray(Image.open(sample.path)) / np.float32(255), sample.degraded)
    assert sample.truth is None


def test_a_super_resolution_pair_keeps_its_sizes(tmp_path: Path, scratch: Path) -> None:
    folder = pairs(tmp_path / "set", ("lq", "gt"), {"a.png": "a.png"})
    photo(width=131, height=97).save(folder / "gt" / "a.png")
    sample = materialise(specs(PAIRS, folder).samples[0], scratch)
    assert sample.clean is not None
    assert (sample.degraded.shape, sample.clean.shape) == ((48, 64, 3), (96, 128, 3))
    photo(width=90, height=48).save(folder / "gt" / "a.png")
    with pytest.raises(InputError, match=r"64x48.*90x48"):
        materialise(specs(PAIRS, folder).samples[0], scratch)


def test_standard_sets_as_people_unpack_them(tmp_path: Path) -> None:
    root = tmp_path / "sets"
    (root / "CBSD68").mkdir(parents=True)
    (root / "bsd68").mkdir()
    photo().save(root / "bsd68" / "test001.png")
    (root / "Rain100L").mkdir()
    for name in ("rain-001.png", "norain-001.png"):
        photo().save(root / "Rain100L" / name)
    pairs(root / "LOL" / "eval15", ("low", "high"), {"1.png": "1.png"})
    pairs(root / "LOL" / "our485", ("low", "high"), {"2.png": "2.png"})
    for scene in ("GOPR0384_11_00", "GOPR0385_11_01"):
        pairs(root / "GoPro" / "test" / scene, ("blur", "sharp"), {"000001.png": "000001.png"})
    listing = specs(load_suite("paper-mofe-2"), root)
    assert [s.sample_id for s in listing.samples] == [
        "Rain100L/rain-001",
        "BSD68 25/test001",
        "GoPro/GOPR0384_11_00/000001",
        "GoPro/GOPR0385_11_01/000001",
        "LOL/1",
    ]
    assert dict(listing.skipped)["row SOTS"].startswith("no folder SOTS/outdoor")
    rain = listing.samples[0]
    assert Path(rain.reference).name == "norain-001.png"
    assert rain.truth == {"rain": 75}
    with pytest.raises(UsageError, match=r"SOTS/outdoor, Rain100L"):
        specs(load_suite("paper-mofe-2"), tmp_path)


def test_cdd11_has_one_clean_folder_for_all(tmp_path: Path, scratch: Path) -> None:
    root = tmp_path / "CDD-11"
    for name in ("clear", "low", "low_haze_rain"):
        (root / name).mkdir(parents=True)
        photo("coffee" if name != "clear" else "astronaut").save(root / name / "0001.png")
    listing = specs(load_suite("paper-mofe-1"), tmp_path)
    assert [s.sample_id for s in listing.samples] == ["L/0001", "L+H+R/0001"]
    assert Path(listing.samples[1].reference) == root / "clear" / "0001.png"
    with pytest.raises(UsageError, match="several folders of degraded pictures"):
        (root / "haze").mkdir()
        source(root, "pairs")


def test_unknown_layouts_say_what_was_expected_and_found(clean: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"input and target.*there: img1.png, img2.png"):
        specs(PAIRS, clean)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UsageError, match="there: nothing"):
        specs(task(NOISE), empty)
    with pytest.raises(UsageError, match="no folder"):
        specs(task(NOISE), tmp_path / "absent")


def test_natural_order_and_names() -> None:
    assert sorted(["b10", "a2", "b9", "A1", "10", "9"], key=natural) == [
        "9",
        "10",
        "A1",
        "a2",
        "b9",
        "b10",
    ]


def test_subfolders_by_set_name(tmp_path: Path) -> None:
    (tmp_path / "CDD-11" / "Low_Haze").mkdir(parents=True)
    photo(next(iter(PHOTOS))).save(tmp_path / "CDD-11" / "Low_Haze" / "a.png")
    [entry] = source_below(tmp_path, "CDD11/low_haze", "clean").entries
    assert entry.picture == tmp_path / "CDD-11" / "Low_Haze" / "a.png"
    with pytest.raises(UsageError, match="no folder CDD11/rain"):
        source_below(tmp_path, "CDD11/rain", "clean")
