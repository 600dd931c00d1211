"""Samples over manifests and Hugging Face data sets."""

from pathlib import Path

import numpy as np
import pytest

from conservator.evals.datasets import materialise, specs
from conservator.evals.task import Row
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.errors import BackendMissingError, UsageError
from made_tasks import NOISE, PHOTOS, photo, task

PAIRS = task(Row(name="pairs"), needs="pairs")


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


# ── manifests ───────────────────────────────────────────────────────────────
LINES = [
    {
        "picture": "clean/img1.png",
        "reference": "clean/img2.png",
        "row": "a",
        "truth": "noise:sigma=25+jpeg:quality=20",
    },
    {"picture": "clean/img2.png", "reference": "clean/img1.png", "row": "b", "truth": ""},
    {"picture": "clean/img10.png", "reference": "", "row": "a", "truth": ""},
    {"picture": "clean/img10.png", "reference": "clean/img1.png", "row": "c", "truth": ""},
]


def write_manifest(path: Path, lines: list[dict[str, str]]) -> None:
    if path.suffix == ".csv":
        text = [",".join(lines[0]), *(",".join(line.values()) for line in lines)]
        path.write_text("\ufeff" + "\n".join(text) + "\n", encoding="utf-8")
        return
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(lines), path)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_manifests(clean: Path, scratch: Path, suffix: str) -> None:
    path = clean.parent / f"list{suffix}"
    write_manifest(path, LINES)
    listing = specs(task(Row(name="a"), Row(name="b"), needs="pairs"), path)
    assert [s.sample_id for s in listing.samples] == ["a/clean/img1", "b/clean/img2"]
    assert set(listing.skipped) == {
        ("clean/img10.png", "row 'c' is not in the task"),
        ("clean/img10.png", "no clean picture to it"),
    }
    sample = materialise(listing.samples[0], scratch)
    assert sample.truth is not None
    assert sample.truth.degradations == {Kind.NOISE: 25, Kind.JPEG: 20}
    assert sample.clean is not None and not np.array_equal(sample.clean, sample.degraded)


def test_a_manifest_whose_kinds_are_not_rows_is_taken_whole(clean: Path) -> None:
    path = clean.parent / "manifest.csv"
    path.write_text(
        "kind,degraded,clean\nclean,,clean/img1.png\nhaze,clean/img2.png,clean/img10.png\n"
    )
    clean_ones = specs(task(NOISE), path).samples
    assert [Path(s.picture).name for s in clean_ones] == ["img1.png", "img10.png"]
    listing = specs(PAIRS, clean.parent)
    assert [s.sample_id for s in listing.samples] == ["pairs/clean/img2"]
    assert listing.skipped == (("clean/img1.png", "no clean picture to it"),)


def test_a_folders_manifest_lists_its_sets(clean: Path) -> None:
    """In its own order, and without what it leaves out; a set that it does not list is read from its folder."""
    (clean.parent / "manifest.csv").write_text(
        "kind,degraded,clean\nnoise,clean/img10.png,clean/img1.png\nnoise,clean/img2.png,clean/img1.png\n"
    )
    (clean.parent / "more").mkdir()
    photo(next(iter(PHOTOS))).save(clean.parent / "more" / "a.png")
    rows = (
        Row(name="pairs", folder="clean", needs="pairs", truth={"noise": 8}),
        Row(name="more", folder="more", recipe="noise:sigma=25"),
    )
    listing = specs(task(*rows), clean.parent)
    assert [s.sample_id for s in listing.samples] == ["pairs/img10", "pairs/img2", "more/a"]
    assert [Path(s.reference).name for s in listing.samples[:2]] == ["img1.png", "img1.png"]
    assert not listing.skipped


def test_fixed_draws_do_not_follow_the_runs_seed(clean: Path) -> None:
    free, fixed = task(NOISE), task(NOISE).model_copy(update={"fixed_draws": True})
    seeds = [
        [s.seed for s in specs(t, clean, seed=n).samples] for t in (free, fixed) for n in (0, 1)
    ]
    assert seeds[0] != seeds[1]
    assert seeds[2] == seeds[3]
    assert len(set(seeds[2])) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,size\na.png,3\n", "no column picture or degraded"),
        ("picture,truth\nclean/img1.png,grain:3\n", "grain"),
        ("picture,truth\nclean/img1.png,mio16:A1\n", "named recipe"),
        ("picture\n", "no column|nothing to measure"),
    ],
)
def test_manifests_that_say_nothing(clean: Path, text: str, message: str) -> None:
    path = clean.parent / "list.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        specs(task(NOISE), path)


def test_a_manifest_that_is_none(clean: Path) -> None:
    with pytest.raises(UsageError, match="not a Parquet file"):
        (clean.parent / "list.parquet").write_bytes(b"PAR1 but no more")
        specs(task(NOISE), clean.parent / "list.parquet")
    one = specs(task(NOISE), clean / "img2.png").samples
    assert [s.sample_id for s in one] == ["noise/img2"]


# ── Hugging Face ────────────────────────────────────────────────────────────
@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import datasets

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    folder = tmp_path / "hub" / "data"
    folder.mkdir(parents=True)
    lines = []
    for i, name in enumerate(PHOTOS):
        photo(name).save(tmp_path / f"{i}.jpg", quality=70)
        photo(name).save(tmp_path / f"{i}.png")
        lines.append(
            {
                "hazy": {"bytes": (tmp_path / f"{i}.jpg").read_bytes(), "path": None},
                "gt": {"bytes": (tmp_path / f"{i}.png").read_bytes(), "path": None},
                "n": i,
            }
        )
    features = datasets.Features(
        {"hazy": datasets.Image(), "gt": datasets.Image(), "n": datasets.Value("int64")}
    )
    table = datasets.Dataset.from_list(lines, features=features)
    table.to_parquet(folder / "test-00000-of-00001.parquet")
    return tmp_path / "hub"


def test_a_data_set_keeps_its_files_bytes(hub: Path, tmp_path: Path, scratch: Path) -> None:
    listing = specs(PAIRS, f"hf:{hub}", limit=2)
    assert [s.sample_id for s in listing.samples] == ["pairs/000000", "pairs/000001"]
    spec = listing.samples[1]
    assert Path(spec.picture).read_bytes() == (tmp_path / "1.jpg").read_bytes()
    assert Path(spec.picture).suffix == ".jpg"
    assert Path(spec.reference).read_bytes() == (tmp_path / "1.png").read_bytes()
    assert str(tmp_path / "cache") in spec.picture
    sample = materialise(spec, scratch)
    assert sample.clean is not None and sample.clean.shape == sample.degraded.shape
    clean_ones = specs(task(NOISE), f"hf:{hub}:test:gt").samples
    assert [Path(s.picture).suffix for s in clean_ones] == [".png"] * 3


def test_data_sets_that_cannot_be_had(hub: Path) -> None:
    with pytest.raises(UsageError, match="no split 'dev'; splits: test"):
        specs(PAIRS, f"hf:{hub}:dev")
    with pytest.raises(UsageError, match="no column of pictures 'n'"):
        specs(PAIRS, f"hf:{hub}:test:n")
    with pytest.raises(UsageError, match="REFERENCE_COLUMN"):
        specs(PAIRS, f"hf:{hub}:test:hazy")
    with pytest.raises(UsageError, match="write hf:NAME"):
        specs(PAIRS, "hf:")
    with pytest.raises(BackendMissingError, match="CONSERVATOR_OFFLINE=false"):
        specs(PAIRS, "hf:nobody/such-pictures")
