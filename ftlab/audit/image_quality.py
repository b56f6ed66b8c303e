"""Pictures from which little is to be learnt: blank, tiny, blurred, of an odd shape.

A limit that says what the network loses stands beside one that says how far from the other pictures of the set it is:
a set in which all are small, or blurred by nature, is no list of faults.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ftlab.audit.embeddings import Measured
from ftlab.data.transforms.preprocess import Preprocessing

EMPTY = 4.0
"""Levels, of 255: a picture whose 32 × 32 means deviate less than that, in each colour, shows nothing. The eye tells
differences of 1 to 2 % of the range apart; a camera's grain is gone in the means."""
ENLARGED = 4
"""Times a tiny picture's short side must be enlarged for the network: what it sees is made up by then."""
LONG = 2.0
"""Long side over short side, above which the middle square shows less than half of a picture."""
BLURRED = (0.6, 0.75)
"""Blur below which no picture is called blurred, and above which each is, see `measuring.blur`: photographs lie at 0.2
to 0.5."""


def blank(measured: Measured) -> npt.NDArray[np.bool_]:
    """Which of the pictures show nothing: bool [N]."""
    count = len(measured.facts)
    flat = measured.small.reshape(count, -1, 3).astype(np.float32)
    return np.asarray(flat.std(axis=1).max(axis=1) < EMPTY if count else np.zeros(0, np.bool_))


def sizes(measured: Measured) -> npt.NDArray[np.int64]:
    """Width and height in pixels: int64 [N, 2]."""
    return np.array([(one.width, one.height) for one in measured.facts], np.int64).reshape(-1, 2)


def tiny(measured: Measured, prep: Preprocessing) -> tuple[npt.NDArray[np.bool_], bool]:
    """Which of the pictures are tiny, bool [N], and whether the set as a whole is."""
    short = sizes(measured).min(axis=1, initial=1 << 30)
    middle = float(np.median(short)) if len(short) else 0.0
    few = short < prep.side / ENLARGED
    return few & (short < middle / 2), bool(len(short)) and middle < prep.side / ENLARGED


def odd(measured: Measured) -> tuple[npt.NDArray[np.bool_], bool]:
    """Which of the pictures have an odd shape, bool [N], and whether the set as a whole has."""
    both = sizes(measured).astype(np.float64)
    if not len(both):
        return np.zeros(0, np.bool_), False
    aspect = both.max(axis=1) / both.min(axis=1)
    middle = float(np.median(aspect))
    return (aspect > LONG) & (aspect > 1.5 * middle), middle > LONG


def blurred(measured: Measured, among: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Which of the pictures in `among`, bool [N], are blurred more than the set is."""
    values = np.array([one.blur for one in measured.facts])
    if not among.any():
        return np.zeros(len(values), np.bool_)
    limit = float(np.clip(far(values[among]), *BLURRED))
    return np.asarray((values > limit) & among)


def far(values: npt.NDArray[np.float64]) -> float:
    """The value above which one is "far out": three times the distance of the quartiles above the upper one (Tukey,
    1977, Exploratory Data Analysis, section 2D). Of a normal distribution one in 400,000 is."""
    low, high = np.percentile(values, [25, 75])
    return float(high + 3 * (high - low))
