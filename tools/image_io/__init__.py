"""The image carrier: any picture file in, sRGB floats for the restorers, the same kind of file out."""

from conservator.tools.image_io.encoding import encoded, quantise
from conservator.tools.image_io.picture import (
    JpegInfo,
    Limits,
    Picture,
    content_hash,
    from_tensor,
    to_tensor,
)
from conservator.tools.image_io.reading import decode, from_array, from_pil, load
from conservator.tools.image_io.writing import (
    default_output,
    save,
    write_atomically,
)

__all__ = [
    "JpegInfo",
    "Limits",
    "Picture",
    "content_hash",
    "decode",
    "default_output",
    "encoded",
    "from_array",
    "from_pil",
    "from_tensor",
    "load",
    "quantise",
    "save",
    "to_tensor",
    "write_atomically",
]
