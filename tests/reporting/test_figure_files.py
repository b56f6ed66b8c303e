"""Files of figures and of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ftlab.core.errors import ConfigError
from ftlab.reporting.figure_files import save_figure, save_image
from ftlab.reporting.plots import plot_explanation


def test_a_saved_explanation_has_the_pixels_of_matplotlibs_own_way(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    heat = np.linspace(0, 1, 49, dtype=np.float32).reshape(7, 7)
    for name, caption in (("plain", ""), ("noted", "A sentence below.")):
        figures = [
            plot_explanation(picture, picture, heat, [("ants", 0.9), ("bees", 0.1)], caption=caption) for _ in "ab"
        ]
        for ax in figures[1].axes[:3]:
            ax.set_title(ax.get_title(), fontsize=11)  # placed by matplotlib
        save_figure(figures[0], tmp_path / name / "ours.png")
        figures[1].savefig(tmp_path / name / "own.png", dpi=120)
        with Image.open(tmp_path / name / "ours.png") as ours, Image.open(tmp_path / name / "own.png") as own:
            assert ours.size == (1440, 432)
            assert ours.info["dpi"] == own.info["dpi"]
            assert np.array_equal(np.asarray(ours), np.asarray(own))


def test_an_image_is_saved_without_a_figure(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    picture = np.full((30, 40, 3), (200, 100, 50), np.uint8)
    for name in ("new/image.jpg", "image.png"):
        save_image(picture, tmp_path / name)
        with Image.open(tmp_path / name) as saved:
            assert np.abs(np.asarray(saved).astype(int) - picture).max() <= 2
    assert capfd.readouterr() == ("", "")  # OpenCV is silent too
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written"):
        save_image(picture, tmp_path / "file" / "image.jpg")
