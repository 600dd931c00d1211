"""Fit NIQE's model of clean photos: `python -m conservator.tools.iqa.fit_niqe FOLDER`.

NIQE (Mittal et al. 2013, doi:10.1109/LSP.2012.2227726) measures how far a picture's local statistics lie from those of
clean photos. The published parameters may not be redistributed with this package, so they are fitted here: the same 36
features of 96x96 patches that pyiqa computes when it scores, from the sharp patches of clean photos (local deviation
above 0.75 of the sharpest patch in its photo, Sec. II-C), then their mean and covariance.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from conservator.restorers.errors import UsageError
from conservator.tools.iqa.resident import PRISTINE, quiet

__all__ = ["features_of", "fit", "main"]

PATCH = 96
SHARP = 0.75
Features = npt.NDArray[np.float64]


def features_of(picture: npt.NDArray[Any]) -> Features:
    """The features of a photo's sharp patches.

    Args:
        picture: (H, W, 3), uint8, RGB, at least 96 px a side.

    Returns:
        (patches, 36), float64; empty when no patch is textured.
    """
    import torch

    with quiet():
        from pyiqa.archs.func_util import diff_round, normalize_img_with_gauss
        from pyiqa.archs.niqe_arch import blockproc, compute_feature, imresize
        from pyiqa.matlab_utils import fspecial, imfilter
        from pyiqa.utils.color_util import to_y_channel

        tensor = torch.from_numpy(picture.transpose(2, 0, 1)[None].astype(np.float32) / 255)
        luma = diff_round(to_y_channel(tensor, 255, "yiq")).to(torch.float64)
        rows, columns = luma.shape[-2] // PATCH, luma.shape[-1] // PATCH
        luma = luma[..., : rows * PATCH, : columns * PATCH]
        window = fspecial(7, 7 / 6, 1).to(luma)
        mean = imfilter(luma, window, padding="replicate")
        deviation = (imfilter(luma**2, window, padding="replicate") - mean**2).abs().sqrt()
        # blockproc fixes the order of the patches, so it computes this one too.
        sharpness = blockproc(deviation, [PATCH, PATCH], fun=_mean_of)[0, :, 0]
        scales = []
        for scale in (1, 2):
            normalised = normalize_img_with_gauss(luma, padding="replicate")
            scales.append(blockproc(normalised, [PATCH // scale] * 2, fun=compute_feature)[0])
            luma = imresize(luma / 255.0, scale=0.5, antialiasing=True) * 255.0
    chosen = (sharpness > SHARP * sharpness.max()) & (sharpness > 1)
    values: Features = torch.cat(scales, dim=-1)[chosen].numpy()
    return values[np.isfinite(values).all(axis=1)]


def _mean_of(block: Any, _options: Any) -> Any:
    return block.mean(dim=(2, 3))


def fit(pictures: Iterable[npt.NDArray[Any]]) -> tuple[Features, Features]:
    """Mean (36,) and covariance (36, 36) of the features over clean photos.

    Raises:
        UsageError: too few sharp patches to fit a covariance.
    """
    rows = np.concatenate([np.empty((0, 36)), *map(features_of, pictures)])
    if len(rows) < 10 * 36:
        raise UsageError(
            f"{len(rows)} sharp patches are too few to fit 36 features; give more photos"
        )
    return rows.mean(axis=0), np.cov(rows, rowvar=False)


def main(arguments: list[str] | None = None) -> int:
    """Fit on the photos of a folder and write the parameters; returns an exit code."""
    from PIL import Image

    folders = sys.argv[1:] if arguments is None else arguments
    if not 1 <= len(folders) <= 2 or not Path(folders[0]).is_dir():
        sys.stderr.write("usage: python -m conservator.tools.iqa.fit_niqe FOLDER [OUT.npz]\n")
        return 2
    suffixes = {".jpg", ".jpeg", ".png"}
    paths = sorted(p for p in Path(folders[0]).iterdir() if p.suffix.lower() in suffixes)
    target = Path(folders[1]) if len(folders) == 2 else PRISTINE
    mean, covariance = fit(np.asarray(Image.open(path).convert("RGB")) for path in paths)
    np.savez_compressed(target, mean=mean, covariance=covariance)
    sys.stdout.write(f"{len(paths)} photos -> {target} ({target.stat().st_size} bytes)\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
