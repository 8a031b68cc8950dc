"""Runs on executors. What is lost of numbers that become features, which are float32."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: The largest finite number.
LARGEST = float(np.finfo(np.float32).max)
#: From here on, not every whole number has a float32 of its own.
_WHOLE = 2.0**24
#: Numbers of a block that are compared with each other: enough to see that a column holds identifiers.
_COMPARED = 1 << 16


def twins(values: NDArray[np.float64]) -> tuple[float, float] | None:
    """Return two different whole numbers among these finite values that are one float32; None if there are none."""
    large = values[np.abs(values) > _WHOLE][:_COMPARED]
    whole = np.unique(large[large == np.floor(large)])
    same = np.flatnonzero(np.diff(whole.astype(np.float32)) == 0)
    return (float(whole[same[0]]), float(whole[same[0] + 1])) if len(same) else None
