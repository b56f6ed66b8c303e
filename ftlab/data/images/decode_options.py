"""Options of decoding: how small a JPEG may become, and what range of values deep images are shown at. No torch.

A deep image has more than 8 bits per sample: 16-bit integers (gray or color), 32-bit integers, floats. Its file seldom
says which of its values is white, so that a data set has one range for each kind of sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from ftlab.config import rules

SampleKind = Literal["uint16", "int32", "float32"]
"""Kind of a deep sample. 16-bit integers with a sign are `int32`, as Pillow reads them."""
SAMPLE_KINDS: tuple[SampleKind, ...] = ("uint16", "int32", "float32")

DEFAULT_MIN_SIDE_PIXELS = 512
"""Short side in pixels that decoding always keeps."""


@dataclass(frozen=True)
class ValueRange:
    """Values of a deep image that become 0 and 255."""

    low: float
    high: float


@dataclass(frozen=True)
class ValueRanges:
    """Value range by kind of sample; None where a data set has no such images."""

    uint16: ValueRange | None = None
    int32: ValueRange | None = None
    float32: ValueRange | None = None

    def __bool__(self) -> bool:
        """Return whether any range is known."""
        return any(self.get(kind) for kind in SAMPLE_KINDS)

    def get(self, kind: SampleKind) -> ValueRange | None:
        """Return the range of a kind of sample; None if it is not known."""
        value_range: ValueRange | None = getattr(self, kind)
        return value_range

    def to_json(self) -> dict[str, list[float]]:
        """Return the known ranges as `[low, high]` by kind; `ranges_from_json` is its inverse."""
        return {kind: [found.low, found.high] for kind in SAMPLE_KINDS if (found := self.get(kind))}


def resolve_ranges(setting: str, estimated: ValueRanges) -> ValueRanges:
    """Return the value ranges that a configuration asks for.

    Args:
        setting: `TrainConfig.value_range`.
        estimated: ranges of the data set, for `auto`.
    """
    stated_range = rules.parse_value_range(setting)
    return estimated if stated_range is None else ValueRanges(*[ValueRange(*stated_range)] * len(SAMPLE_KINDS))


def ranges_from_json(values: Mapping[str, Any] | None) -> ValueRanges | None:
    """Return the ranges that `ValueRanges.to_json` wrote; None, of a run that recorded none, stays None."""
    if values is None:
        return None
    return ValueRanges(**{kind: ValueRange(float(low), float(high)) for kind, (low, high) in values.items()})


@dataclass(frozen=True)
class DecodeOptions:
    """Options of decoding: the same in training, evaluation and prediction, and part of every key of a cache.

    Attributes:
        min_side: a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size (libjpeg's DCT scaling) as long as its short
            side keeps at least this many pixels; a smaller image keeps its size.
        exact: decode a JPEG at its full size instead, as torchvision and timm do.
        value_ranges: ranges of deep images. Where the range of a kind is not known, it is estimated from the single
            image. None is the rule of runs that recorded no ranges: 16 bits are divided by 257.
    """

    min_side: int = DEFAULT_MIN_SIDE_PIXELS
    exact: bool = False
    value_ranges: ValueRanges | None = ValueRanges()

    def with_min_side(self, min_side: int) -> DecodeOptions:
        """Return the same options for another size, such as a thumbnail's."""
        return replace(self, min_side=min_side)

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict; `options_from_json` is its inverse."""
        return {**asdict(self), "value_ranges": None if self.value_ranges is None else self.value_ranges.to_json()}


def options_from_json(values: Mapping[str, Any]) -> DecodeOptions:
    """Return the options that `DecodeOptions.to_json` wrote."""
    return DecodeOptions(values["min_side"], values["exact"], ranges_from_json(values["value_ranges"]))


def compute_min_side(resize: int) -> int:
    """Return the `min_side` for an image whose short side is resized to `resize` pixels."""
    return max(DEFAULT_MIN_SIDE_PIXELS, resize)
