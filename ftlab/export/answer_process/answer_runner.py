"""Answers images by the `load_model.py` of an export: `python -m … load_model.py`, with requests on standard input.

A request is a line of JSON, [height, width], followed by the pixels. The answer is a line of JSON, the shape of each
array by name, followed by the arrays, float32.
"""

from __future__ import annotations

import json
import os
import runpy
import sys

import numpy as np
from PIL import Image


def serve_requests(loading_path: str) -> None:
    """Answer requests until standard input ends.

    Args:
        loading_path: of a file that defines `answer`, which takes a Pillow image and returns arrays by name.
    """
    # Whatever the library prints, also in C, must not get into the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    answer = runpy.run_path(loading_path, run_name="load_model")["answer"]
    for line in sys.stdin.buffer:
        height, width = json.loads(line)
        content = sys.stdin.buffer.read(height * width * 3)
        pixels = np.frombuffer(content, np.uint8).reshape(height, width, 3)
        arrays = {name: np.asarray(array, np.float32) for name, array in answer(Image.fromarray(pixels)).items()}
        answers.write(json.dumps({name: array.shape for name, array in arrays.items()}).encode() + b"\n")
        for array in arrays.values():
            answers.write(array.tobytes())
        answers.flush()


if __name__ == "__main__":
    serve_requests(sys.argv[1])
