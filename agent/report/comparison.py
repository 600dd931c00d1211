"""The slider of a page: any two nodes beside each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from conservator.agent.report.pictures import Album, Detail, Samples, Shown, details
from conservator.policies.attempt import ORIGINAL

__all__ = ["Comparison", "compared", "missing"]


@dataclass(frozen=True)
class Comparison:
    """What the slider shows; the names are those of `parts.html.j2`.

    Attributes:
        anchor: id in the page.
        sample_id: of whom the pictures are.
        pictures: any of them may stand on either side.
        left: name of the one that is first shown on the left.
        right: and on the right.
        details: of these two, at native resolution.
    """

    anchor: str
    sample_id: str
    pictures: tuple[Shown, ...]
    left: str
    right: str
    details: tuple[Detail, ...] = ()

    @property
    def width(self) -> int:
        """Of the largest picture, px."""
        return max(picture.width for picture in self.pictures)

    @property
    def height(self) -> int:
        """Of the largest picture, px."""
        return max(picture.height for picture in self.pictures)


def compared(
    album: Album,
    names: Mapping[str, str],
    pictures: Mapping[str, Samples],
    other: str,
    *,
    file: str,
) -> Comparison | None:
    """The input against another node; None where no picture is left.

    Args:
        album: with a preview of each node.
        names: node -> what its picture is called.
        pictures: node -> pixels, for the details.
        other: the node that stands on the right first.
        file: the photo's name.
    """
    pair = [names[node] for node in dict.fromkeys((ORIGINAL, other))]
    shown = album.shown(pair)
    if not shown:
        return None
    there = [name for name in pair if album.small(name) is not None] or [shown[0].name]
    found: tuple[Detail, ...] = ()
    before, after, preview = pictures.get(ORIGINAL), pictures.get(other), album.small(pair[0])
    if other != ORIGINAL and before is not None and after is not None and preview is not None:
        found = details((pair[0], before), (pair[1], after), preview)
    return Comparison("compared", file, shown, there[0], there[-1], found)


def missing(album: Album) -> Iterator[str]:
    """Which pictures are not there, or not at first hand, a sentence each."""
    if album.reused:
        yield f"No longer in the folder, and shown as an earlier report had them: {_ids(album.reused)}."
    if album.gone:
        yield f"The pictures of these nodes are gone: {_ids(album.gone)}."
    if album.reused or album.gone:
        yield (
            "Candidates that were not chosen are not kept when a run ends; CONSERVATOR_KEEP_ARTIFACTS=1 keeps them."
        )


def _ids(names: list[str]) -> str:
    """`a1, a2` of `a1, refused` and `a2, refused`."""
    return ", ".join(name.partition(",")[0] for name in names)
