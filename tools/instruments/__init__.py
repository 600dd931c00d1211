"""Measured condition: physical parameters with confidence, read off the pixels and the file.

`measure(image)` gives findings, `inspect_picture(picture)` a condition report. Neither torch nor weights beyond a small
calibration are needed; a learned estimator joins in where it is installed.
"""

from conservator.tools.instruments.measuring import inspect_picture, measure

__all__ = ["inspect_picture", "measure"]
