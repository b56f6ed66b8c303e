"""Which picture goes to training, validation and test, when the folder does not say. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

SPLITS = ("train", "val", "test")
NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""What people call each split, lower case; the first one is taken first."""


def stratified(paths: Iterable[str], *, val_share: float, test_share: float, seed: int) -> dict[str, list[str]]:
    """The pictures of one class, dealt to `train`, `val` and `test`.

    A picture's rank is a hash of the seed and its path, so neither the order of the listing nor the other classes
    matter, and a picture that is added or removed moves at most one other across each border.

    Of at least two pictures, one is in `train` and, if `val_share` is above 0, one in `val`; of at least three, one
    is in `test` if `test_share` is above 0.

    Args:
        paths: of the class's pictures relative to the root, class folder included; each once.
        val_share, test_share: fractions of the pictures, together below 1.
        seed: another one deals another hand.

    Returns:
        `{"train": […], "val": […], "test": […]}`, each in the order given.
    """
    listed = list(paths)
    total = len(listed)
    # Rounding the running sum, not each share, keeps 10 pictures at 70/15/15 from giving 6 to training. The small
    # term lets a half that floats put just below a half still round up.
    val = int(total * val_share + 0.5 + 1e-9)
    test = int(total * (val_share + test_share) + 0.5 + 1e-9) - val
    if test_share > 0 and total >= 3:
        test = max(test, 1)
    if val_share > 0 and total >= 2:
        val = max(val, 1)
    while total and val + test >= total:
        if test > val or (val == 1 and test):
            test -= 1
        else:
            val -= 1
    ranked = sorted(listed, key=lambda one: hashlib.sha256(f"{seed}\0{one}".encode()).digest())
    held = dict.fromkeys(ranked[:val], "val") | dict.fromkeys(ranked[val : val + test], "test")
    hands: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for one in listed:
        hands[held.get(one, "train")].append(one)
    return hands
