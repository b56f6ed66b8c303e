"""An exported model in a process of its own: its answers arrive whole, and its end is one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ftlab.core.errors import ExportError
from ftlab.export.answer_process.model_process import ModelProcess
from tests.support.exported_models import draw_image

LINES = """
import os, sys
import numpy as np

print("loaded")

def answer(image):
    os.write(1, b"a library in C prints this\\n")
    pixels = np.asarray(image)
    if pixels[0, 0, 0] == 255:
        raise ValueError("no white images")
    if pixels[0, 0, 0] == 0:
        os.abort()
    means = pixels.astype(np.float64).mean((0, 1))
    arrays = {"probabilities": means, "logits": means, "class_maps": np.ones((3, 2, 4)) * means[:, None, None]}
    return arrays if image.width > image.height else {"probabilities": means}
"""


@pytest.fixture
def loading_path(tmp_path: Path) -> Path:
    (tmp_path / "load_model.py").write_text(LINES, encoding="utf-8")
    return tmp_path / "load_model.py"


def test_images_of_every_shape_are_answered_in_turn(loading_path: Path) -> None:
    model = ModelProcess("tiny", loading_path)
    for height, width in ((3, 5), (90, 200), (200, 90), (1, 2)):
        pixels = draw_image(height, width).clip(1, 254)
        answer = model(pixels)
        assert answer.probabilities == pytest.approx(pixels.mean((0, 1)), rel=1e-6)
        assert (answer.class_maps is not None) == (width > height)
        if answer.class_maps is not None:
            assert answer.class_maps.shape == (3, 2, 4)
            assert answer.class_maps[:, 1, 3] == pytest.approx(answer.probabilities)


def test_a_view_of_other_pixels_is_answered_too(loading_path: Path) -> None:
    pixels = draw_image(40, 60).clip(1, 254)[::2, ::-1]
    assert ModelProcess("tiny", loading_path)(pixels).probabilities == pytest.approx(pixels.mean((0, 1)), rel=1e-6)


@pytest.mark.parametrize(("level", "cause"), [(255, "ValueError: no white images"), (0, "SIGABRT|a library in C")])
def test_a_model_that_fails_is_one_line(loading_path: Path, level: int, cause: str) -> None:
    model = ModelProcess("tiny", loading_path)
    with pytest.raises(ExportError, match=rf"The tiny file does not answer.*({cause})") as caught:
        model(np.full((4, 4, 3), level, np.uint8))
    assert "\n" not in str(caught.value)


def test_lines_that_do_not_load_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "load_model.py").write_text("raise SystemExit('The model cannot be loaded.')", encoding="utf-8")
    model = ModelProcess("tiny", tmp_path / "load_model.py")
    with pytest.raises(ExportError, match=r"does not answer, so it was not written\. The model cannot be loaded\.$"):
        model(np.full((4, 4, 3), 9, np.uint8))


def test_the_process_ends_with_the_model(loading_path: Path) -> None:
    model = ModelProcess("tiny", loading_path)
    process = model.process
    assert process.poll() is None
    model.close()
    assert process.poll() is not None
