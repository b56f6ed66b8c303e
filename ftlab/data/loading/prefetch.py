"""The first pictures of a training, decoded by processes while this one loads its engine, which leaves all cores but
one idle. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import CancelledError, Future
from itertools import chain, islice
from pathlib import Path

from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig, sides
from ftlab.core.errors import PictureError
from ftlab.core.machine import cores, free_memory
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.images import decode
from ftlab.data.images.decode import Pixels
from ftlab.data.loading.decode_pool import Decoders

_MOST = 400
"""Pictures that a process decodes ahead: about as many as a second or two are enough for; a fifth of a gigabyte."""
_LEAST, _PROCESSES = 50, 16
"""Pictures for which another process is started, and how many processes there are at most."""
_SHARE, _SIZE = 0.1, 500_000
"""Share of the free memory that pictures may take, and bytes that one takes, about."""


class Ahead:
    """Pictures on their way. A context: at its end, what is still to be decoded is left out."""

    def __init__(self, files: Iterable[Path], at_least: int, processes: int = 1) -> None:
        """Begins with the first files in their order.

        Args:
            at_least: as `decode.read` has it.
            processes: at most.
        """
        self.at_least = at_least
        first = list(islice(files, min(_MOST * processes, int(_SHARE * free_memory()) // _SIZE)))
        self._decoders = Decoders(min(processes, 1 + len(first) // _LEAST), at_least, processes=True)
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

    def each(self, files: Sequence[Path]) -> list[tuple[Future[list[Pixels | PictureError]], int]]:
        """As `Decoders.each` does it, by the same processes; what is on its way already is not decoded again."""
        found = [self._coming.pop(file, None) for file in files]
        rest = iter(self._decoders.each([file for file, one in zip(files, found, strict=True) if not one]))
        return [one or next(rest) for one in found]

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
    return Ahead(map(found.path, items), decode.detail(resize), min(config.workers or cores(), cores() - 1, _PROCESSES))
