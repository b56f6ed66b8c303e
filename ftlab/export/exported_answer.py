"""What an exported model answers, whatever its format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ftlab.data.images.decode import ImageArray

FloatArray = npt.NDArray[np.floating]


@dataclass(frozen=True)
class ExportedAnswer:
    """The answer to one image.

    Attributes:
        probabilities: of the K classes, float [K].
        class_maps: a map of each class before the ReLU, float [K, h, w], of the part that the network saw; Grad-CAM at
            the last feature map but for a constant factor. None if the format or the network gives none.
    """

    probabilities: FloatArray
    class_maps: FloatArray | None = None


ExportedModel = Callable[[ImageArray], ExportedAnswer]
"""Takes the pixels of an image of any size, uint8 [H, W, 3] RGB."""
