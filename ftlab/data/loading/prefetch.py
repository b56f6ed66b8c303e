"""Prefetching of a run's first images by worker processes, while this process imports torch on one core. No torch."""

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
from ftlab.data.images import decode_options
from ftlab.data.images.decode import ImageArray
from ftlab.data.images.decode_options import DecodeOptions
from ftlab.data.isolation import isolated
from ftlab.data.loading.decode_pool import DecodePool

MAX_IMAGES_PER_PROCESS = 400
"""Images that a process decodes ahead: about what it decodes in one or two seconds, a fifth of a gigabyte."""
MIN_IMAGES_PER_PROCESS, _MAX_PROCESSES = 50, 16
"""Images per process below which no further one is started, and the largest number of processes."""
_FREE_MEMORY_FRACTION, _BYTES_PER_IMAGE = 0.1, 500_000
"""Fraction of the free memory that prefetched images may take, and the approximate bytes of one."""


class Prefetcher:
    """Images that are being decoded ahead. As a context it cancels at its end what is still to be decoded.

    Attributes:
        options: that the images were decoded with.
        pool: the worker processes.
        pending: for each file that nobody has taken yet, its task and its position in the task's result.
    """

    def __init__(self, files: Iterable[Path], options: DecodeOptions, max_processes: int = 1) -> None:
        """Start decoding the first files.

        Args:
            files: files in the order in which they will be needed.
            options: of decoding, for all files.
            max_processes: largest number of worker processes.
        """
        self.options = options
        first_files = list(
            islice(
                files,
                min(
                    MAX_IMAGES_PER_PROCESS * max_processes,
                    int(_FREE_MEMORY_FRACTION * get_available_memory()) // _BYTES_PER_IMAGE,
                ),
            )
        )
        process_count = min(max_processes, 1 + len(first_files) // MIN_IMAGES_PER_PROCESS)
        # Those that have verified the images have nothing to do any more.
        idle_workers = isolated.get_shared_pool().take_idle_workers(process_count)
        self.pool = DecodePool(process_count, options, use_processes=True, idle_workers=idle_workers)
        self.pending = dict(zip(first_files, self.pool.submit_each(first_files), strict=True))

    def __enter__(self) -> Prefetcher:
        """Return the prefetcher."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the prefetcher."""
        self.close()

    def close(self) -> None:
        """End the worker processes and drop the images that nobody took."""
        self.pending.clear()
        self.pool.__exit__()  # the pool's context was never entered: its processes start with the first request

    def cancel_pending(self) -> None:
        """Cancel the tasks that have not begun: from now on the cores have other work."""
        for future, _ in self.pending.values():
            future.cancel()

    def submit_each(self, files: Sequence[Path]) -> list[tuple[Future[list[ImageArray | ImageError]], int]]:
        """Decode files as `DecodePool.submit_each` does, by the same processes; prefetched files are not decoded again.

        Args:
            files: files to decode.

        Returns:
            For each file the task that decodes it, and its position in the task's result.
        """
        pending_tasks = [self.pending.pop(file, None) for file in files]
        new_tasks = iter(
            self.pool.submit_each(
                [file for file, pending_task in zip(files, pending_tasks, strict=True) if not pending_task]
            )
        )
        return [pending_task or next(new_tasks) for pending_task in pending_tasks]

    def take_image(self, file: Path) -> ImageArray | None:
        """Return and forget the prefetched pixels of a file, uint8 [H, W, 3]; None if it was not decoded.

        Raises the `ImageError` of `decode.read_image` for a file that cannot be read. Any number of threads may call
        it.
        """
        # `dict.pop` is atomic, so that no two threads take the same image.
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
    """Start prefetching the training images, then the validation images.

    Args:
        catalog: images of the data set.
        config: configuration of the run.

    Returns:
        None unless the run reads each image once (cached features) from this machine, and there is more than one core.
    """
    if not config.caches_views or catalog.is_remote or count_cpu_cores() < 2:
        return None
    items = chain(catalog.splits["train"], catalog.splits["val"])
    resize, _ = compute_image_sizes(backbones.get_backbone_spec(config.backbone), config)
    return Prefetcher(
        map(catalog.image_path, items),
        DecodeOptions(
            decode_options.compute_min_side(resize),
            config.exact_decoding,
            decode_options.resolve_ranges(config.value_range, catalog.value_ranges),
        ),
        # One core is left for the import of torch in this process.
        min(config.num_workers or count_cpu_cores(), count_cpu_cores() - 1, _MAX_PROCESSES),
    )
