"""Options of a class activation map. Imports no torch, so that the page and the command line start at once."""

from __future__ import annotations

from dataclasses import dataclass

CAM_METHODS = ("grad_cam", "grad_cam_pp", "hires_cam", "layer_cam")
"""Methods of `cam_methods`; the first is the default."""


@dataclass(frozen=True)
class CamOptions:
    """Options of a class activation map: method and target layer.

    Attributes:
        method: one of `CAM_METHODS`.
        layer_path: path of the target layer within the backbone; empty selects the backbone's default.
    """

    method: str = CAM_METHODS[0]
    layer_path: str = ""
