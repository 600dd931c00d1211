"""What a result says in its own metadata about how it was made."""

import io
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from conservator import RestorationResult
from conservator import replay as replayed
from conservator.agent.provenance import provenanced
from conservator.agent.recipe import Recipe, RecipeStep
from conservator.restorers.degradations.vocabulary import Kind
from conservator.tools.image_io import Picture, encoded, from_array, load

NAMES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "xmpMM": "http://ns.adobe.com/xap/1.0/mm/",
    "stEvt": "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#",
}
OTHERS = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="uuid:7" xmlns:dc="http://purl.org/dc/elements/1.1/" dc:format="image/png"/>'
    b"</rdf:RDF></x:xmpmeta>"
)


def recipe(*names: str, **more: object) -> Recipe:
    steps = [
        RecipeStep(restorer=name, configuration="", degradations={Kind.NOISE: 25.0}, **more)  # type: ignore[arg-type]
        for name in names
    ]
    return Recipe(conservator="0", steps=tuple(steps))


@pytest.fixture
def picture() -> Picture:
    return from_array(np.zeros((8, 8, 3), np.uint8))


def events(packet: bytes | None) -> list[dict[str, str]]:
    assert packet is not None
    found = ElementTree.fromstring(packet).findall(".//xmpMM:History/rdf:Seq/rdf:li", NAMES)
    return [{part.tag.partition("}")[2]: part.text or "" for part in item} for item in found]


def test_a_result_says_what_was_done(whole: RestorationResult, tmp_path: Path) -> None:
    assert whole.path is not None
    (event,) = events(load(whole.path).xmp)
    assert event["softwareAgent"].startswith("Conservator ")
    assert event["parameters"].startswith("1. classical-nlm (noise ")
    assert str(whole.path.parent) not in (load(whole.path).xmp or b"").decode()
    again = replayed(whole.recipe, whole.path.with_name("noisy.png"), output=tmp_path / "again.png")
    assert not isinstance(again, tuple)
    assert (tmp_path / "again.png").read_bytes() == whole.path.read_bytes()
    second = replayed(whole.recipe, whole.path, output=tmp_path / "second.png")
    assert not isinstance(second, tuple)
    assert len(events(load(tmp_path / "second.png").xmp)) == 2


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
def test_every_format_that_holds_it_has_it(picture: Picture, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"out{suffix}"
    path.write_bytes(encoded(provenanced(picture, recipe("llmra")), suffix))
    assert len(events(load(path).xmp)) == 1
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        assert image.size == (8, 8)


def test_what_was_there_stays_around_it(picture: Picture) -> None:
    given = replace(picture, xmp=OTHERS)
    once = provenanced(given, recipe("llmra", weights_sha256="0123456789abcdef"))
    assert once.xmp is not None
    assert once.xmp.startswith(OTHERS[: OTHERS.index(b"</rdf:RDF>")])
    assert once.xmp.count(b'rdf:about="uuid:7"') == 2
    assert once.xmp.count(b"algorithmicallyEnhanced") == 1
    twice = provenanced(once, recipe("<b> & co", blend=0.5), weights=False)
    assert [event["parameters"] for event in events(twice.xmp)] == [
        "1. llmra (noise 25), weights 0123456789ab",
        "1. <b> & co (noise 25), 50% of it",
    ]
    assert (twice.xmp or b"").count(b"algorithmicallyEnhanced") == 1


@pytest.mark.parametrize(
    "odd",
    [
        b"no packet",
        OTHERS.replace(b'dc:format="image/png"', b'xmpMM:History="?"'),
        OTHERS.replace(b"uuid:7", b"x" * 60_000),
    ],
)
def test_an_odd_packet_is_left_alone(picture: Picture, odd: bytes) -> None:
    given = replace(picture, xmp=odd)
    assert provenanced(given, recipe("llmra")).xmp == odd


def test_no_step_no_word(picture: Picture) -> None:
    assert provenanced(picture, recipe()) is picture
    many = provenanced(picture, recipe(*["classical-nlm"] * 500))
    assert len(many.xmp or b"") < 6000
    assert len(events(many.xmp)) == 1
