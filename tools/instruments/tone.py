"""Light and air: the tones from which haze and darkness are judged.

Haze lifts the dark channel, the smallest of the three colours in a neighbourhood, towards the airlight (He, Sun and
Tang 2009, doi:10.1109/CVPR.2009.5206515), takes away saturation and contrast, and does both more where things are far,
mostly towards the top. Darkening lowers the whole range, and pins pixels at zero or caps the brightest value.
"""

from __future__ import annotations

import cv2
import numpy as np

from conservator.tools.instruments.sample import Readings, Sample

__all__ = ["readings"]

_PERCENTILES = (1, 5, 25, 50, 75, 95, 99)


def readings(sample: Sample) -> Readings:
    """Tones in [0, 1] of the whole photo.

    `dark_pNN`: percentiles of the dark channel (7x7). `value_pNN`: of HSV value. `value_max`, `value_min`.
    `saturation_p50|p95`. `airlight`: brightness of the haziest hundredth; `airlight_tint`: its saturation.
    `veil`: mean dark channel over the airlight. `veil_top`: that of the upper third minus that of the lower.
    `contrast`: mean local deviation; `contrast_relative`: over the local mean. `black`, `white`: share of pixels at
    0 and 255. `gap`, `cap`: value of the darkest and the brightest thousandth.
    """
    image = sample.thumbnail
    red, green, blue = cv2.split(image)
    value = np.asarray(cv2.max(cv2.max(red, green), blue))
    lowest = np.asarray(cv2.min(cv2.min(red, green), blue))
    dark = cv2.erode(lowest, np.ones((7, 7), np.uint8), borderType=cv2.BORDER_REPLICATE)
    saturation = (value - lowest) / np.maximum(value, 1e-3)
    values = {
        f"dark_p{p:02d}": float(v)
        for p, v in zip(_PERCENTILES, np.percentile(dark, _PERCENTILES), strict=True)
    }
    values |= {
        f"value_p{p:02d}": float(v)
        for p, v in zip(_PERCENTILES, np.percentile(value, _PERCENTILES), strict=True)
    }
    values["saturation_p50"], values["saturation_p95"] = (
        float(v) for v in np.percentile(saturation, (50, 95))
    )
    haziest = dark >= np.percentile(dark, 99)
    light = image[haziest].mean(axis=0)
    values["airlight"] = float(light.mean())
    values["airlight_tint"] = float(np.ptp(light) / max(1e-3, float(light.max())))
    veil = dark / max(0.1, float(light.mean()))
    third = max(1, len(veil) // 3)
    values["veil"] = float(veil.mean())
    values["veil_top"] = float(veil[:third].mean() - veil[-third:].mean())
    grey = image.mean(axis=2)
    mean = cv2.blur(grey, (9, 9))
    deviation = np.sqrt(np.maximum(cv2.blur(grey * grey, (9, 9)) - mean * mean, 0))
    values["contrast"] = float(deviation.mean())
    values["contrast_relative"] = float((deviation / (mean + 0.05)).mean())
    tops = np.concatenate([high.ravel() for high in sample.highs]) / 255
    values["value_max"], values["value_min"] = float(tops.max()), float(tops.min())
    values["black"] = float(np.log((tops < 0.5 / 255).mean() + 1e-5))
    values["white"] = float(np.log((tops > 254.5 / 255).mean() + 1e-5))
    values["gap"], values["cap"] = (float(v) for v in np.percentile(tops[::3], (0.1, 99.9)))
    return values
