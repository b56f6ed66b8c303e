"""How a person wants to see where the evidence lies. No torch, so that the page and the command line start at once."""

from __future__ import annotations

from dataclasses import dataclass

CAM_METHODS = ("grad_cam", "grad_cam_pp", "hires_cam", "layer_cam")
"""The ways of weighing a layer's output (`attribution`); the first where none is named."""


@dataclass(frozen=True)
class CamOptions:
    """Attributes:
    method: one of `CAM_METHODS`.
    layer_path: path of the layer looked at, in the backbone; empty: the backbone's own.
    """

    method: str = CAM_METHODS[0]
    layer_path: str = ""
