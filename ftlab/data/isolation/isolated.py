"""Decode images from unknown sources in worker processes: `decode`'s functions, by the pool that this process shares.

Scans, predictions, thumbnails and audits decode here. Only a training decodes in its own process, and only images that
a scan has verified. No torch.
"""

from __future__ import annotations

import atexit
import io
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from ftlab.core.errors import ImageError
from ftlab.core.machine import count_cpu_cores
from ftlab.data.images import decode
from ftlab.data.images.declared_range import DeclaredRange
from ftlab.data.images.decode import ImageArray
from ftlab.data.images.decode_options import DecodeOptions, ValueRange
from ftlab.data.images.value_range import SampleStats
from ftlab.data.isolation.worker_main import ImageSource
from ftlab.data.isolation.worker_pool import WorkerPool
from ftlab.data.isolation.worker_process import describe_source

MAX_WORKERS = 8
"""Workers of a process, at most; each takes about 40 MB."""


class _StreamCopy(io.BytesIO):
    """Content of a stream, to be sent to a worker.

    Attributes:
        name: of the stream, for errors.
    """

    def __init__(self, stream: BinaryIO) -> None:
        """Read the stream from its start.

        Raises:
            ImageError: it is larger than a file may be, or cannot be read.
        """
        self.name = describe_source(stream)
        try:
            stream.seek(0)
            content = stream.read(decode.MAX_FILE_BYTES + 1)
        except (OSError, ValueError) as cause:  # closed, for example
            raise ImageError("unreadable", file=self.name) from cause
        if len(content) > decode.MAX_FILE_BYTES:
            raise ImageError("too_many_bytes", file=self.name, limit=decode.MAX_FILE_BYTES // 1_000_000)
        super().__init__(content)


_shared_pools: dict[int, WorkerPool] = {}
"""The pool by process id: a forked process must not share its parent's pipes."""
_lock = threading.Lock()


def get_shared_pool() -> WorkerPool:
    """Return the pool of this process; its workers start when they are needed, and end with the process."""
    with _lock:
        pool = _shared_pools.get(os.getpid())
        if pool is None:
            pool = _shared_pools[os.getpid()] = WorkerPool(min(MAX_WORKERS, count_cpu_cores()))
        return pool


def close_shared_pool() -> None:
    """End the workers of this process; the next image starts new ones."""
    with _lock:
        pool = _shared_pools.pop(os.getpid(), None)
    if pool:
        pool.close()


atexit.register(close_shared_pool)


def read_image(source: ImageSource, options: DecodeOptions = DecodeOptions()) -> ImageArray:
    """Decode an image as `decode.read_image` does, in a worker process.

    Args:
        source: path of a file, or a seekable stream.
        options: size of a JPEG and value range of a deep image.

    Returns:
        uint8 [H, W, 3] RGB.
    """
    return cast(ImageArray, _decode_one("read_image", source, options.to_json()))


def read_image_size(source: ImageSource) -> tuple[int, int]:
    """Return width and height of an image as `decode.read_image_size` does, in a worker process."""
    return cast(tuple[int, int], _decode_one("read_image_size", source, {}))


def read_sample_stats(source: ImageSource) -> SampleStats | None:
    """Return the statistics of a deep image as `decode.read_sample_stats` does, from a worker process."""
    values = _decode_one("read_sample_stats", source, {})
    if values is None:
        return None
    declared = values["declared"]
    declared_values = declared["values"] and ValueRange(**declared["values"])
    return SampleStats(
        **{
            **values,
            "samples": np.array(values["samples"], np.float32),
            "declared": DeclaredRange(**{**declared, "values": declared_values}),
        }
    )


def make_thumbnail(file: Path | str, side: int, options: DecodeOptions) -> str:
    """Return the center square of an image as a `data:` URI, made in a worker process.

    A file that cannot be read gives an `ImageError`.

    Args:
        file: path of the image.
        side: side of the thumbnail in pixels.
        options: of decoding.
    """
    return cast(str, _decode_one("make_thumbnail", file, {**options.to_json(), "side": side}))


def verify_images(files: Sequence[str]) -> list[tuple[int, int] | ImageError]:
    """Verify images as `decode.verify_image` does, by one worker process.

    Args:
        files: paths.

    Returns:
        Width and height of each image, or its error.
    """
    return get_shared_pool().decode("verify_image", files, group_answers=True)


def _decode_one(operation: str, source: ImageSource, arguments: Mapping[str, Any]) -> Any:
    """Return the result of an operation on one image; an `ImageError` is raised."""
    if not isinstance(source, (str, os.PathLike)):
        source = _StreamCopy(source)
    (result,) = get_shared_pool().decode(operation, [source], arguments)
    if isinstance(result, ImageError):
        raise result
    return result
