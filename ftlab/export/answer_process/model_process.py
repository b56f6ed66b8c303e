"""An exported model that runs in a process of its own, by its own `load_model.py`."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import weakref
from pathlib import Path
from typing import IO, BinaryIO, cast

import numpy as np

from ftlab.core.errors import ExportError
from ftlab.data.images.decode import ImageArray
from ftlab.export import own_process
from ftlab.export.exported_answer import ExportedAnswer, FloatArray
from ftlab.runs.jobs.launch import build_environment


class ModelProcess:
    """A model as a function of an image's pixels (`ExportedModel`); its process ends with this object.

    Attributes:
        process: it answers one image at a time.
        close: end the process before.
    """

    def __init__(self, format_name: str, loading_path: Path) -> None:
        """Start the process.

        Args:
            format_name: for errors.
            loading_path: Python that defines `answer`, which takes a Pillow image and returns arrays by name.
        """
        self._format_name = format_name
        self._log = cast(IO[bytes], tempfile.TemporaryFile())  # noqa: SIM115 - closed with the process
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ftlab.export.answer_process.answer_runner", str(loading_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=build_environment(PYTHONIOENCODING="utf-8"),
        )
        self.close = weakref.finalize(self, _end_process, self.process, self._log)

    def __call__(self, pixels: ImageArray) -> ExportedAnswer:
        """Answer an image.

        Args:
            pixels: uint8 [H, W, 3] RGB.

        Returns:
            The answer.

        Raises:
            ExportError: the process has ended, with the last line of what it has printed.
        """
        requests, answers = cast(BinaryIO, self.process.stdin), cast(BinaryIO, self.process.stdout)
        try:
            requests.write(json.dumps(pixels.shape[:2]).encode() + b"\n")
            requests.write(np.ascontiguousarray(pixels).data)
            requests.flush()
            shapes = json.loads(answers.readline())
        except (OSError, ValueError) as cause:
            raise ExportError("export.no_answer", format=self._format_name, cause=self._describe_end()) from cause
        arrays = {name: _read_array(answers, shape) for name, shape in shapes.items()}
        return ExportedAnswer(arrays["probabilities"], arrays.get("class_maps"))

    def _describe_end(self) -> str:
        """Return the signal that has ended the process, or the last line that it has printed."""
        status = self.process.wait()
        self._log.seek(0)
        last_line = own_process.find_last_line(self._log.read().decode("utf-8", "replace"))
        return own_process.describe_status(status) if status < 0 or not last_line else last_line


def _read_array(stream: BinaryIO, shape: list[int]) -> FloatArray:
    """Return an array of a shape, float32, from a stream."""
    return np.frombuffer(bytearray(stream.read(4 * math.prod(shape))), np.float32).reshape(shape)


def _end_process(process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    """End a process and close its pipes."""
    process.kill()
    with process:  # closes the pipes and waits
        pass
    log.close()
