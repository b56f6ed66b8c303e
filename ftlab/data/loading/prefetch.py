"""The first pictures of a training, decoded by processes while this one loads its engine, which leaves all cores but
one idle. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import CancelledError, Future
from itertools import chain, islice
from pathlib import Path

from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig, compute_image_sizes
from ftlab.core.errors import ImageError
from ftlab.core.machine import count_cpu_cores, get_available_memory
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.images import decode
from ftlab.data.images.decode import ImageArray
from ftlab.data.loading.decode_pool import DecodePool

MAX_IMAGES_PER_PROCESS = 400
"""Pictures that a process decodes ahead: about as many as a second or two are enough for; a fifth of a gigabyte."""
MIN_IMAGES_PER_PROCESS, _MAX_PROCESSES = 50, 16
"""Pictures for which another process is started, and how many processes there are at most."""
_FREE_MEMORY_FRACTION, _BYTES_PER_IMAGE = 0.1, 500_000
"""Share of the free memory that pictures may take, and bytes that one takes, about."""


class Prefetcher:
    """Pictures on their way. A context: at its end, what is still to be decoded is left out."""

    def __init__(self, files: Iterable[Path], min_side: int, max_processes: int = 1) -> None:
        """Begins with the first files in their order.

        Args:
            min_side: as `decode.read` has it.
            max_processes: at most.
        """
        self.min_side = min_side
        first_files = list(
            islice(
                files,
                min(
                    MAX_IMAGES_PER_PROCESS * max_processes,
                    int(_FREE_MEMORY_FRACTION * get_available_memory()) // _BYTES_PER_IMAGE,
                ),
            )
        )
        self.pool = DecodePool(
            min(max_processes, 1 + len(first_files) // MIN_IMAGES_PER_PROCESS), min_side, use_processes=True
        )
        self.pending = dict(zip(first_files, self.pool.submit_each(first_files), strict=True))

    def __enter__(self) -> Prefetcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process, and let go what nobody took."""
        self.pending.clear()
        self.pool.__exit__()

    def cancel_pending(self) -> None:
        """From now on the cores have other work: what has not begun is left out."""
        for future, _ in self.pending.values():
            future.cancel()

    def submit_each(self, files: Sequence[Path]) -> list[tuple[Future[list[ImageArray | ImageError]], int]]:
        """As `DecodePool.each` does it, by the same processes; what is on its way already is not decoded again."""
        pending_tasks = [self.pending.pop(file, None) for file in files]
        new_tasks = iter(
            self.pool.submit_each(
                [file for file, pending_task in zip(files, pending_tasks, strict=True) if not pending_task]
            )
        )
        return [pending_task or next(new_tasks) for pending_task in pending_tasks]

    def take_image(self, file: Path) -> ImageArray | None:
        """What `decode.read` gives for a file, once, if it was decoded; any number of threads may take.

        Raises:
            PictureError: as that does.
        """
        future, position = self.pending.pop(file, (None, 0))
        if future is None:
            return None
        try:
            image = future.result()[position]
        except CancelledError:
            return None
        if isinstance(image, ImageError):
            raise image
        return image


def start_prefetcher(catalog: Catalog, config: TrainConfig) -> Prefetcher | None:
    """Where pictures are looked at once, and there is a core to spare: those to train on, then those to validate."""
    if not config.caches_features or count_cpu_cores() < 2:
        return None
    items = chain(catalog.splits["train"], catalog.splits["val"])
    resize, _ = compute_image_sizes(backbones.get_backbone_spec(config.backbone), config)
    return Prefetcher(
        map(catalog.image_path, items),
        decode.compute_min_side(resize),
        min(config.workers or count_cpu_cores(), count_cpu_cores() - 1, _MAX_PROCESSES),
    )
