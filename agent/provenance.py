"""What was done to a photo, in the photo: an event in its XMP history, as editors write them.

The event names this program, the steps with their strengths, and the weights; no date and no path, so that the same work gives the
same bytes. The packet that was there stays as it is around it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

from conservator.tools.image_io import Picture

if TYPE_CHECKING:
    from conservator.agent.recipe import MixStep, Recipe, RecipeStep

__all__ = ["provenanced"]

_MOST_BYTES: Final = 60_000
"""Of a packet; JPEG holds no more, and a longer one would be left out as a whole."""
_MOST_WORDS: Final = 4_000
_SOURCE: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicallyEnhanced"
_PACKET: Final = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"></rdf:RDF>'
    b'</x:xmpmeta><?xpacket end="w"?>'
)
_END: Final = b"</rdf:RDF>"
_HISTORY: Final = re.compile(rb"<xmpMM:History>\s*<rdf:Seq>.*?(?=</rdf:Seq>)", re.DOTALL)
_ABOUT: Final = re.compile(rb'rdf:about="([^"]*)"')


def provenanced(picture: Picture, recipe: Recipe, *, weights: bool = True) -> Picture:
    """The picture with one more event in its history; as it is where nothing was done, or where its packet has no room.

    Args:
        picture: a result.
        recipe: what led to it.
        weights: name the recipe's; False where others may have been used.
    """
    if not recipe.steps:
        return picture
    packet = _with_event(picture.xmp or _PACKET, _event(recipe, weights=weights))
    if packet is None or len(packet) > _MOST_BYTES:
        return picture
    return replace(picture, xmp=packet)


def _with_event(packet: bytes, event: str) -> bytes | None:
    """The packet with an event at the end of its history; None where it is not written as expected."""
    item = event.encode()
    history = _HISTORY.search(packet)
    if history is not None:
        return packet[: history.end()] + item + packet[history.end() :]
    end = packet.rfind(_END)
    if end < 0 or b"xmpMM:History" in packet:
        return None
    about = _ABOUT.search(packet)
    source = b""
    if b"DigitalSourceType" not in packet:
        source = (
            b'<Iptc4xmpExt:DigitalSourceType xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
            + _SOURCE.encode()
            + b"</Iptc4xmpExt:DigitalSourceType>"
        )
    block = (
        b'<rdf:Description rdf:about="'
        + (about[1] if about else b"")
        + b'" xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/">'
        + source
        + b"<xmpMM:History><rdf:Seq>"
        + item
        + b"</rdf:Seq></xmpMM:History></rdf:Description>"
    )
    return packet[:end] + block + packet[end:]


def _event(recipe: Recipe, *, weights: bool) -> str:
    from conservator import __version__

    words = "; ".join(
        f"{number}. {_step(step, number, weights=weights)}"
        for number, step in enumerate(recipe.steps, 1)
    )
    if recipe.protect:
        words += f"; as it came in: {', '.join(region.name for region in recipe.protect)}"
    if len(words) > _MOST_WORDS:
        words = words[: _MOST_WORDS - 4] + " ..."
    return (
        '<rdf:li rdf:parseType="Resource" xmlns:stEvt="http://ns.adobe.com/xap/1.0/sType/ResourceEvent#">'
        "<stEvt:action>edited</stEvt:action>"
        f"<stEvt:softwareAgent>Conservator {escape(__version__)}</stEvt:softwareAgent>"
        f"<stEvt:parameters>{escape(words)}</stEvt:parameters>"
        "</rdf:li>"
    )


def _step(step: RecipeStep | MixStep, number: int, *, weights: bool) -> str:
    from conservator.agent.recipe import MixStep

    if isinstance(step, MixStep):
        return f"{_result(step.over)} inside {step.region.name}, {_result(step.under)} elsewhere"
    asked = ", ".join(f"{kind.value} {value:.4g}" for kind, value in step.degradations.items())
    words = f"{step.restorer} ({asked or 'what it sees'})"
    if step.source is not None and step.source != number - 1:
        words += f" on {_result(step.source)}"
    if step.blend < 1:
        words += f", {step.blend:.0%} of it"
    if weights and step.weights_sha256:
        words += f", weights {step.weights_sha256[:12]}"
    return words


def _result(number: int) -> str:
    return f"step {number}" if number else "the input"
