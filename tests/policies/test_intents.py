"""What is to be kept, in people's words."""

import pytest

from conservator.policies.intents import INTENTS, kept_kinds, read_intent
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.errors import PromptError

BLURS = (Kind.DEFOCUS_BLUR, Kind.MOTION_BLUR)


@pytest.mark.parametrize(
    ("text", "kinds", "colours"),
    [
        ("the grain", (Kind.NOISE,), False),
        ("keep the film grain, please", (Kind.NOISE,), False),
        ("it grainy", (Kind.NOISE,), False),
        ("the bokeh", BLURS, False),
        ("the blur", BLURS, False),
        ("the out of focus background", BLURS, False),
        ("the shallow depth of field", BLURS, False),
        ("the colours", (), True),
        ("the original colors", (), True),
        ("the warm tones", (), True),
        ("the mood", (Kind.LOW_LIGHT,), False),
        ("it dark", (Kind.LOW_LIGHT,), False),
        ("the low-key light", (Kind.LOW_LIGHT,), False),
        ("the fog", (Kind.HAZE,), False),
        ("the rain and the fog", (Kind.RAIN, Kind.HAZE), False),
        ("the snow", (Kind.SNOW,), False),
        ("the grain and the colours as they are", (Kind.NOISE,), True),
        ("the JPEG blocks", (Kind.JPEG,), False),
        ("the pixelated look", (Kind.LOW_RESOLUTION,), False),
        ("the scratches", (Kind.MASK,), False),
    ],
)
def test_reads(text: str, kinds: tuple[Kind, ...], colours: bool) -> None:
    intent = read_intent(text)
    assert (intent.kinds, intent.colours) == (kinds, colours)


def test_all_that_is_named_as_understood_is() -> None:
    for words in INTENTS.replace(" or blur", "").split(", "):
        for one in words.split(" or "):
            read_intent(one)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "nothing to keep"),
        ("everything", "cannot read 'everything'"),
        ("the vibe", "cannot read 'the vibe'"),
        ("the details", "the grain, the bokeh"),
        # The other way round.
        ("the noise low", "cannot read 'the noise low'"),
        ("out the rain", "cannot read"),
        ("the colours down", "cannot read"),
        ("less grain", "cannot read"),
        ("the face", "'the face' is a place; protect it instead"),
        ("the grain and the sky", "'the sky' is a place"),
    ],
)
def test_what_cannot_be_kept_is_a_clear_error(text: str, named: str) -> None:
    with pytest.raises(PromptError, match=named) as caught:
        read_intent(text)
    assert "\n" not in str(caught.value)


def test_words_are_kept_for_people() -> None:
    assert read_intent("keep the Grain").words == "the Grain"


@pytest.mark.parametrize(
    ("sentence", "kinds"),
    [
        ("keep the mood", (Kind.LOW_LIGHT,)),
        ("please leave the night light as it is", (Kind.LOW_LIGHT,)),
        ("the mood", ()),
        ("keep the colours", ()),
        ("keep the vibe", ()),
        ("too dark", ()),
    ],
)
def test_sentences_of_a_dialogue(sentence: str, kinds: tuple[Kind, ...]) -> None:
    assert kept_kinds(sentence) == kinds
