"""The first pictures of a training, decoded by a process while this one loads its engine, which leaves a core idle. No
torch."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import CancelledError
from itertools import chain, islice
from pathlib import Path

from ftlab import backbones
from ftlab.config import TrainConfig, sides
from ftlab.data import decode
from ftlab.data.catalog import Catalog
from ftlab.data.decode import Pixels
from ftlab.data.decoders import Decoders
from ftlab.errors import PictureError
from ftlab.machine import cores

_MOST = 400
"""Pictures that are decoded ahead: about as many as a second or two are enough for; a fifth of a gigabyte."""


class Ahead:
    """Pictures on their way. A context: at its end, what is still to be decoded is left out."""

    def __init__(self, files: Iterable[Path], at_least: int) -> None:
        """Begins with the first files in their order; `at_least` as `decode.read` has it."""
        self.at_least = at_least
        self._decoders = Decoders(1, at_least, processes=True)
        first = list(islice(files, _MOST))
        self._coming = dict(zip(first, self._decoders.each(first), strict=True))

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process, and let go what nobody took."""
        self._coming.clear()
        self._decoders.__exit__()

    def enough(self) -> None:
        """From now on the cores have other work: what has not begun is left out."""
        for coming, _ in self._coming.values():
            coming.cancel()

    def take(self, file: Path) -> Pixels | None:
        """What `decode.read` gives for a file, once, if it was decoded; any number of threads may take.

        Raises:
            PictureError: as that does.
        """
        coming, number = self._coming.pop(file, (None, 0))
        if coming is None:
            return None
        try:
            found = coming.result()[number]
        except CancelledError:
            return None
        if isinstance(found, PictureError):
            raise found
        return found


def begun(found: Catalog, config: TrainConfig) -> Ahead | None:
    """Where pictures are looked at once, and there is a core to spare: those to train on, then those to validate."""
    if not config.caches_features or cores() < 2:
        return None
    items = chain(found.splits["train"], found.splits["val"])
    resize, _ = sides(backbones.get(config.backbone), config)
    return Ahead(map(found.path, items), decode.detail(resize))
