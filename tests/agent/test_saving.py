"""What is scored is what will be saved, coded only where coding changes something."""

from io import BytesIO

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms
from skimage import data

from conservator.agent.saving import artifact_samples, as_saved
from conservator.agent.sessions import unit_range
from conservator.tools.image_io import Picture, decode, quantise
from conservator.tools.image_io.colour import is_srgb

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
ADOBE = bytes(imagecodecs.cms_profile("adobergb"))


def picture_with(profile: bytes | None) -> Picture:
    stream = BytesIO()
    Image.fromarray(data.astronaut()[:48, :64]).save(stream, "PNG", icc_profile=profile)
    return decode(stream.getvalue())


def kept(picture: Picture) -> np.ndarray:
    """A candidate as the run folder gives it back."""
    return unit_range(artifact_samples(picture, picture.pixels * np.float32(0.8)))


def test_profiles_that_say_srgb_change_nothing() -> None:
    assert [is_srgb(profile) for profile in (None, SRGB, ADOBE)] == [True, True, False]
    assert is_srgb(b"no profile at all")


@pytest.mark.parametrize("profile", [None, SRGB], ids=["no profile", "sRGB"])
def test_plain_pictures_are_not_coded_to_be_scored(profile: bytes | None) -> None:
    picture = picture_with(profile)
    candidate = kept(picture)
    assert artifact_samples(picture, candidate).dtype == np.uint8
    assert as_saved(picture, candidate, ".png") is candidate
    assert np.array_equal(quantise(picture.with_pixels(candidate), ".png").pixels, candidate)


def test_pictures_in_other_colours_are_scored_as_they_read_back() -> None:
    picture = picture_with(ADOBE)
    candidate = kept(picture)
    assert artifact_samples(picture, candidate).dtype == np.uint16
    saved = as_saved(picture, candidate, ".png")
    assert 0 < np.abs(saved - candidate).max() < 0.02
    assert np.array_equal(saved, quantise(picture.with_pixels(candidate), ".png").pixels)


def test_lossy_formats_are_scored_after_coding() -> None:
    picture = picture_with(SRGB)
    candidate = kept(picture)
    saved = as_saved(picture, candidate, ".jpg")
    assert not np.array_equal(saved, candidate)
    assert np.array_equal(saved, quantise(picture.with_pixels(candidate), ".jpg").pixels)
