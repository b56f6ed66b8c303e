"""Stratified random split of images into training, validation and test. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from ftlab.data.sources.listing import SPLITS

__all__ = ["SPLITS", "stratified_split"]


def stratified_split(paths: Iterable[str], *, val_share: float, test_share: float, seed: int) -> dict[str, list[str]]:
    """Split the images of one class into `train`, `val` and `test`.

    Images are ranked by a hash of the seed and their path, so neither the order of the listing nor the other classes
    matter, and an image that is added or removed moves at most one other image across each border.

    Of at least two images, one is in `train` and, if `val_share` is above 0, one in `val`; of at least three, one is in
    `test` if `test_share` is above 0.

    Args:
        paths: paths of the class's images relative to the root, class folder included; each once.
        val_share: fraction of the images for validation; below 1 together with `test_share`.
        test_share: fraction of the images for test.
        seed: seed of the ranking.

    Returns:
        `{"train": […], "val": […], "test": […]}`, each in the order given.
    """
    path_list = list(paths)
    image_count = len(path_list)
    # Rounding the running sum, not each share, keeps 10 images at 70/15/15 from giving 6 to training. The small
    # term lets a half that floats put just below a half still round up.
    val_count = int(image_count * val_share + 0.5 + 1e-9)
    test_count = int(image_count * (val_share + test_share) + 0.5 + 1e-9) - val_count
    if test_share > 0 and image_count >= 3:
        test_count = max(test_count, 1)
    if val_share > 0 and image_count >= 2:
        val_count = max(val_count, 1)
    # The minimum of one image per split may have left nothing to train on: give back from the larger split.
    while image_count and val_count + test_count >= image_count:
        if test_count > val_count or (val_count == 1 and test_count):
            test_count -= 1
        else:
            val_count -= 1
    ranked_paths = sorted(path_list, key=lambda path: hashlib.sha256(f"{seed}\0{path}".encode()).digest())
    split_by_path = dict.fromkeys(ranked_paths[:val_count], "val") | dict.fromkeys(
        ranked_paths[val_count : val_count + test_count], "test"
    )
    paths_by_split: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for path in path_list:
        paths_by_split[split_by_path.get(path, "train")].append(path)
    return paths_by_split
