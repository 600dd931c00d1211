"""Putting a file in place: completely or not at all, and never over the input."""

import os
import re
import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conservator.restorers.errors import OutputError, UnknownNameError
from conservator.tools.image_io import (
    default_output,
    from_array,
    load,
    save,
    write_atomically,
)
from made_pictures import chelsea, darker


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return chelsea()


@pytest.fixture
def source(photo: np.ndarray, tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    Image.fromarray(photo).save(path, quality=85)
    return path


def names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


def test_the_input_is_never_overwritten_unless_asked(source: Path) -> None:
    before = source.read_bytes()
    picture = darker(load(source))
    link = source.with_name("link.jpg")
    link.symlink_to(source)
    for target in (source, link, source.parent / "." / "photo.jpg"):
        with pytest.raises(OutputError, match="is the input"):
            save(picture, target)
    with pytest.raises(OutputError, match="is the input"):
        save(from_array(np.zeros((2, 2, 3))), source, source=source)
    assert source.read_bytes() == before
    assert save(picture, source, overwrite=True) == source
    assert source.read_bytes() != before
    assert names(source.parent) == ["link.jpg", "photo.jpg"]


def test_an_existing_file_is_never_overwritten_unless_asked(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "precious.png"
    target.write_bytes(b"precious")
    target.chmod(0o600)
    picture = load(source)
    with pytest.raises(OutputError, match="exists"):
        save(picture, target)
    assert target.read_bytes() == b"precious"
    save(picture, target, overwrite=True)
    assert load(target).format == "PNG"
    assert target.stat().st_mode & 0o777 == 0o600
    dangling = tmp_path / "dangling.png"
    dangling.symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(OutputError, match="exists"):
        save(picture, dangling)


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "out.bin"

    def chunks() -> Iterator[bytes]:
        yield b"ours"
        target.write_bytes(b"theirs")
        yield b"ours"

    with pytest.raises(OutputError, match="exists"):
        write_atomically(target, chunks())
    assert target.read_bytes() == b"theirs"
    assert names(tmp_path) == ["out.bin"]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, RuntimeError])
@pytest.mark.parametrize("overwrite", [False, True])
def test_an_interruption_leaves_nothing_behind(
    tmp_path: Path, interruption: type[BaseException], overwrite: bool
) -> None:
    target = tmp_path / "out.bin"
    if overwrite:
        target.write_bytes(b"before")
    seen: list[str] = []

    def chunks() -> Iterator[bytes]:
        yield b"half of it"
        seen.extend(names(tmp_path))
        raise interruption

    with pytest.raises(interruption):
        write_atomically(target, chunks(), overwrite=overwrite)
    assert any(re.fullmatch(r"\..*\.part", name) for name in seen)
    assert names(tmp_path) == (["out.bin"] if overwrite else [])
    assert not overwrite or target.read_bytes() == b"before"


def test_a_full_disk_leaves_nothing_behind(source: Path, tmp_path: Path) -> None:
    """The limit on file size makes the kernel refuse in the middle, as a full disk does."""
    folder = tmp_path / "full"
    folder.mkdir()
    picture = from_array(np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OutputError, match="cannot be written"):
            save(picture, folder / "out.png")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(folder) == []


def test_folders_that_cannot_be_written(source: Path, tmp_path: Path) -> None:
    picture = load(source)
    with pytest.raises(OutputError, match="not a folder"):
        save(picture, source / "out.png")
    with pytest.raises(OutputError, match="not a folder"):
        save(picture, tmp_path / "missing" / "out.png")
    with pytest.raises(OutputError, match="cannot be written"):
        save(picture, "/proc/out.png")
    with pytest.raises(OutputError, match="cannot be written"):
        save(picture, tmp_path / ("n" * 300 + ".png"))
    with pytest.raises(OutputError):
        save(picture, tmp_path / "a\x00b.png")
    folder = tmp_path / "folder.png"
    folder.mkdir()
    with pytest.raises(OutputError, match="not a regular file"):
        save(picture, folder, overwrite=True)
    with pytest.raises(OutputError, match="not a regular file"):
        write = tmp_path / "null.png"
        write.symlink_to(os.devnull)
        save(picture, write, overwrite=True)


@pytest.mark.parametrize("name", ["out", "out.gif", "out.xyz", "out.png.part", ".png"])
def test_unknown_suffixes_are_named(source: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(UnknownNameError, match=r"\.tiff"):
        save(load(source), tmp_path / name)
    assert names(tmp_path) == ["photo.jpg"]


def test_default_output(tmp_path: Path) -> None:
    source = tmp_path / "IMG_1.final.JPG"
    first = default_output(source)
    assert first == tmp_path / "IMG_1.final.restored.JPG"
    first.touch()
    second = default_output(str(source))
    assert second.name == "IMG_1.final.restored-2.JPG"
    second.symlink_to(tmp_path / "nowhere")
    assert default_output(source).name == "IMG_1.final.restored-3.JPG"
    assert default_output(source, "denoised").name == "IMG_1.final.denoised.JPG"
    assert default_output(tmp_path / "a.gif").name == "a.restored.png"
    assert default_output(tmp_path / "plain").name == "plain.restored.png"
