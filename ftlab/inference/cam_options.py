"""How a person wants to see where the evidence lies. No torch, so that the page and the command line start at once."""

from __future__ import annotations

from dataclasses import dataclass

METHODS = ("grad_cam", "grad_cam_pp", "hires_cam", "layer_cam")
"""The ways of weighing a layer's output (`attribution`); the first where none is named."""


@dataclass(frozen=True)
class How:
    """Attributes:
    method: one of `METHODS`.
    layer: path of the layer looked at, in the backbone; empty: the backbone's own.
    """

    method: str = METHODS[0]
    layer: str = ""
