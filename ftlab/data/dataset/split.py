"""Which picture goes to training, validation and test, when the folder does not say. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

SPLITS = ("train", "val", "test")
SPLIT_ALIASES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""What people call each split, lower case; the first one is taken first."""


def stratified_split(paths: Iterable[str], *, val_share: float, test_share: float, seed: int) -> dict[str, list[str]]:
    """The pictures of one class, dealt to `train`, `val_count` and `test_count`.

    A picture's rank is a hash of the seed and its path, so neither the order of the listing nor the other classes
    matter, and a picture that is added or removed moves at most one other across each border.

    Of at least two pictures, one is in `train` and, if `val_share` is above 0, one in `val_count`; of at least three, one
    is in `test_count` if `test_share` is above 0.

    Args:
        paths: of the class's pictures relative to the root, class folder included; each once.
        val_share, test_share: fractions of the pictures, together below 1.
        seed: another one deals another hand.

    Returns:
        `{"train": […], "val": […], "test": […]}`, each in the order given.
    """
    path_list = list(paths)
    image_count = len(path_list)
    # Rounding the running sum, not each share, keeps 10 pictures at 70/15/15 from giving 6 to training. The small
    # term lets a half that floats put just below a half still round up.
    val_count = int(image_count * val_share + 0.5 + 1e-9)
    test_count = int(image_count * (val_share + test_share) + 0.5 + 1e-9) - val_count
    if test_share > 0 and image_count >= 3:
        test_count = max(test_count, 1)
    if val_share > 0 and image_count >= 2:
        val_count = max(val_count, 1)
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
