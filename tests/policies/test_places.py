"""Where in a photo a user means, and what is left of the sentence."""

import pytest

from conservator.policies.places import read_place, read_statements
from conservator.restorers.errors import PromptError

LEFT, RIGHT = "the left half", "the right half"
SAID: dict[str, list[tuple[str | None, str]]] = {
    "too dark": [(None, "too dark")],
    "less on the left half": [(LEFT, "less")],
    "the left side is too dark": [(LEFT, "is too dark")],
    "brighter on the left and darker on the right": [(LEFT, "brighter"), (RIGHT, "darker")],
    "brighter and less smooth on the left": [(LEFT, "brighter and less smooth")],
    "brighter, but keep the grain in the sky": [(None, "brighter"), ("the sky", "keep the grain")],
    "less noise in the sky and on the face": [
        ("the sky", "less noise"),
        ("the face", "less noise"),
    ],
    "less smoothing everywhere but the face": [("everything but the face", "less smoothing")],
    "brighter except the sky": [("everything but the sky", "brighter")],
    "brighter at the top": [("the top half", "brighter")],
    "remove the noise in the upper third": [("the top third", "remove the noise")],
    "top left corner is noisy": [("the top left quarter", "is noisy")],
    "not sharp enough in the centre": [("the centre", "not sharp enough")],
    "too dark in the shadows": [("the shadows", "too dark")],
    "less in the highlights": [("the highlights", "less")],
    "in the box 30,20,150,100 brighter": [("the box 30,20,150,100", "brighter")],
    "brighter in the box 10% 10% 50% 50%": [("the box 10%,10%,50%,50%", "brighter")],
    "the top half is fine, the bottom half is too dark": [
        ("the top half", "is fine"),
        ("the bottom half", "is too dark"),
    ],
    "I like the face but the rest is too dark": [
        ("the face", "i like"),
        ("everything but the face", "is too dark"),
    ],
    "the top half is fine, the rest is too dark": [
        ("the top half", "is fine"),
        ("everything but the top half", "is too dark"),
    ],
    # These name no place.
    "too much noise left": [(None, "too much noise left")],
    "that's right": [(None, "that's right")],
    "lower the denoising": [(None, "lower the denoising")],
    "the highlights are blown out": [(None, "the highlights are blown out")],
    "on top of that, brighter": [(None, "on top of that, brighter")],
    "half the noise": [(None, "half the noise")],
}


@pytest.mark.parametrize("sentence", SAID)
def test_places(sentence: str) -> None:
    found = read_statements(sentence, width=300, height=200)
    assert [(s.region.name if s.region else None, s.text) for s in found] == SAID[sentence]


def test_boxes_are_shares_of_the_photo() -> None:
    def box(sentence: str) -> tuple[float, ...]:
        (statement,) = read_statements(sentence, width=300, height=200)
        assert statement.region is not None
        return statement.region.box

    assert box("less in the box 30,20,150,100") == pytest.approx((0.1, 0.1, 0.5, 0.5))
    assert box("less in the box 25% 50% 50% 50%") == pytest.approx((0.25, 0.5, 0.5, 0.5))
    # What lies outside the photo is cut off.
    assert box("less in the box 150,100,900,900") == pytest.approx((0.5, 0.5, 0.5, 0.5))
    assert box("less on the right third") == pytest.approx((2 / 3, 0, 1 / 3, 1))


@pytest.mark.parametrize("sentence", ["less in the box 500,500,10,10", "box 10,10,0,5 brighter"])
def test_a_box_outside_the_photo_is_refused(sentence: str) -> None:
    with pytest.raises(PromptError, match="300x200"):
        read_statements(sentence, width=300, height=200)


@pytest.mark.parametrize(
    ("text", "name", "box", "size"),
    [
        ("30,20,150,100", "the box 30,20,150,100", (0.1, 0.1, 0.5, 0.5), (300, 200)),
        ("[30, 20, 150, 100]", "the box 30,20,150,100", (0.1, 0.1, 0.5, 0.5), (300, 200)),
        ("10%,20%,30%,30%", "the box 10%,20%,30%,30%", (0.1, 0.2, 0.3, 0.3), None),
        ("face", "the face", (0, 0, 1, 1), None),
        ("the text", "the text", (0, 0, 1, 1), None),
        ("left half", "the left half", (0, 0, 0.5, 1), None),
        ("Everything but the sky", "everything but the sky", (0, 0, 1, 1), None),
    ],
)
def test_a_place_by_itself(
    text: str, name: str, box: tuple[float, ...], size: tuple[int, int] | None
) -> None:
    place = read_place(text, width=300, height=200)
    assert (place.name, place.size) == (name, size)
    assert place.box == pytest.approx(box)
    assert place.outside is name.startswith("everything")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("nose", "none that can be found"),
        ("", "none that can be found"),
        ("too dark in the sky", "none that can be found"),
        ("the face and the sky", "none that can be found"),
        ("10,20", "does not parse"),
        ("1,2,3,4,5", "does not parse"),
        ("1,2,3,x", "does not parse"),
        ("10,20,0,5", "is empty"),
        ("200,100,150,50", "leaves the photo, which is 300x200"),
        ("-1,2,3,4", "leaves the photo"),
        ("60%,0%,50%,10%", "leaves the photo"),
    ],
)
def test_no_place_is_a_clear_error(text: str, named: str) -> None:
    with pytest.raises(PromptError, match=named) as caught:
        read_place(text, width=300, height=200)
    assert "\n" not in str(caught.value)
