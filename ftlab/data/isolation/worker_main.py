"""Main program of a decoding worker: decode what the parent process names, one file after the other. No torch.

A request is a line of JSON on standard input (operation, arguments, sources), followed by the content of each source
that has no path. The answer to each source is written as soon as it is there, or a few together where the request
allows it: a line of JSON on standard output and, for pixels, their raw bytes, which the parent reads straight into the
array that it returns. It needs no pickle, and no shared memory, of which a container may have none. However the parent
ends, its pipes close, and the worker ends too.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from ftlab.core.errors import ImageError
from ftlab.data.images import decode
from ftlab.data.images.decode_options import options_from_json

ImageSource = Path | str | BinaryIO
"""Path of a file, or a seekable stream."""

READY_LINE = b'"ready"\n'
"""First line of a worker: it can decode from now on."""
_MEGABYTE = 1_000_000
_MAX_ANSWER_DELAY_SECONDS = 0.02
"""Seconds after which answers that may be written together are written, once the file at hand is done."""


Operation = Callable[[ImageSource, Mapping[str, Any]], Any]
"""(source, arguments as JSON has them) -> uint8 [H, W, 3], or what JSON can hold."""


def _read_image(source: ImageSource, arguments: Mapping[str, Any]) -> decode.ImageArray:
    """Return the pixels of an image, decoded with the options in `arguments`, see `DecodeOptions.to_json`."""
    return decode.read_image(source, options_from_json(arguments))


def _make_thumbnail(source: ImageSource, arguments: Mapping[str, Any]) -> str:
    """Return the thumbnail of an image as a `data:` URI; `arguments` are the options, and its side in pixels."""
    from ftlab.data.images import data_uri

    pixels = decode.read_image(source, options_from_json(arguments))
    return data_uri.encode_data_uri(data_uri.crop_square(pixels, arguments["side"]))


def _read_sample_stats(source: ImageSource, _: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the statistics of a deep image as JSON has them; None for another image."""
    stats = decode.read_sample_stats(source)
    return None if stats is None else {**asdict(stats), "samples": stats.samples.tolist()}


OPERATIONS: dict[str, Operation] = {
    "read_image": _read_image,
    "make_thumbnail": _make_thumbnail,
    "read_sample_stats": _read_sample_stats,
    "read_image_size": lambda source, _: decode.read_image_size(source),
    "verify_image": lambda source, _: decode.verify_image(source),
}
"""What a worker can be asked for."""


def run_operation(operation: str, source: ImageSource, arguments: Mapping[str, Any]) -> Any:
    """Run an operation on one image.

    Args:
        operation: key of `OPERATIONS`.
        source: path of a file, or a stream.
        arguments: of the operation.

    Returns:
        Its result, or the `ImageError` that says why the image cannot be read.
    """
    try:
        return OPERATIONS[operation](source, arguments)
    except ImageError as error:
        return error


def serve_requests(memory_megabytes: int) -> None:
    """Answer requests until standard input or output closes.

    The answer to a source is written before the next one is begun: should that one end this process, the parent knows
    which it was. Not so in a request for grouped answers, whose sources the parent then sends again.

    Args:
        memory_megabytes: memory that decoding may take beyond that of the started program, where the system has such a
            limit.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # only the parent ends it: no traceback from an interrupt
    # Whatever a library prints, also in C, must not get into the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _use_one_thread()
    _crash_silently()
    is_limited = _limit_memory(memory_megabytes)
    with suppress(BrokenPipeError):  # the parent is gone
        answers.write(READY_LINE)
        answers.flush()
        for line in sys.stdin.buffer:
            request = json.loads(line)
            last_flush_time = time.monotonic()
            for source in _receive_sources(request["sources"]):
                result = _decode_or_exit(answers, request["operation"], source, request["arguments"])
                if is_limited and isinstance(result, ImageError) and result.code == "memory":
                    result = ImageError("decoder_memory", limit=memory_megabytes)
                _write_answer(answers, result)
                if not request["grouped"] or time.monotonic() - last_flush_time > _MAX_ANSWER_DELAY_SECONDS:
                    answers.flush()
                    last_flush_time = time.monotonic()
            answers.flush()
    os._exit(0)  # the usual exit would report that buffered output can no longer be written


def _receive_sources(sources: list[str | int]) -> list[ImageSource]:
    """Return the sources of a request: a path as it is, a number of bytes as a stream of that content."""
    return [io.BytesIO(sys.stdin.buffer.read(source)) if isinstance(source, int) else source for source in sources]


def _decode_or_exit(answers: BinaryIO, operation: str, source: ImageSource, arguments: Mapping[str, Any]) -> Any:
    """Return the result of `run_operation`; a bug is reported to the parent and ends this process."""
    try:
        return run_operation(operation, source, arguments)
    except Exception:
        answers.write(json.dumps({"bug": traceback.format_exc()}).encode() + b"\n")
        answers.flush()
        os._exit(1)


def _write_answer(answers: BinaryIO, result: Any) -> None:
    """Write the answer to one source; it may stay in the buffer."""
    pixels = None
    if isinstance(result, ImageError):
        values = {name: value for name, value in result.values.items() if isinstance(value, (str, int, float))}
        header: dict[str, Any] = {"error": [result.code, values]}
    elif hasattr(result, "shape"):
        header, pixels = {"shape": result.shape[:2]}, result
    else:
        header = {"value": result}
    # JSON escapes all but ASCII, lone surrogates too, so that undecodable file names arrive as they are.
    answers.write(json.dumps(header).encode() + b"\n")
    if pixels is not None:
        answers.write(pixels.data)


def _use_one_thread() -> None:
    """Decode AVIF with one thread: there is a worker for each core, and each thread reserves memory."""
    from PIL import AvifImagePlugin

    AvifImagePlugin.DEFAULT_MAX_THREADS = 1


def _crash_silently() -> None:
    """Write no core dump, and on Windows show no dialog, when a decoder crashes: both would delay the parent."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.SetErrorMode(msvcrt.SEM_FAILCRITICALERRORS | msvcrt.SEM_NOGPFAULTERRORBOX)
    else:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _limit_memory(megabytes: int) -> bool:
    """Limit the address space of this process, on Linux; elsewhere the parent watches its memory.

    Args:
        megabytes: beyond what the process has now.

    Returns:
        Whether there is a limit.
    """
    if sys.platform != "linux":
        return False
    import resource

    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + megabytes * _MEGABYTE
    _, hard_limit = resource.getrlimit(resource.RLIMIT_AS)
    if hard_limit != resource.RLIM_INFINITY:
        limit = min(limit, hard_limit)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard_limit))
    return True
