"""Parts of a photo that cannot be found must not change the whole of it."""

import pytest

from conservator.agent.dialogue.parts import unknown_part
from conservator.policies.comments import read_comment
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.prompts.model import RestorationPrompt

PROMPT = RestorationPrompt(degradations={Kind.NOISE: 20, Kind.LOW_LIGHT: 0.5})


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("the car is too dark", "car"),
        ("this car is too dark", "car"),
        ("less noise on the car", "car"),
        ("keep the grain on the car", "car"),
        ("make the dog brighter", "dog"),
        ("sharpen the eyes", "eyes"),
        ("the right eye is blurry", "right eye"),
        ("less smoothing in the background", "background"),
        ("less smoothing in background", "in background"),
        ("too dark", ""),
        ("this is too dark", ""),
        ("the picture is too dark", ""),
        ("the result looks too smooth", ""),
        ("the black dots are still there", ""),
        ("remove the light rain", ""),
        ("the washed out look is bad", ""),
        ("the grain is gone", ""),
        ("there is noise in the photo", ""),
        ("you removed the texture of the skin", ""),
        ("halos around the edges", ""),
    ],
)
def test_parts(text: str, part: str) -> None:
    assert unknown_part(text, read_comment(text, PROMPT), PROMPT) == part
