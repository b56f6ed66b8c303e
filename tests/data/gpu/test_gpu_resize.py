"""Squares cut and scaled in batches: the bits of torch's own resizing, one picture at a time."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ftlab.data.gpu import gpu_resize, resize_taps
from ftlab.data.gpu.gpu_resize import CropBox
from ftlab.data.images.decode import ImageArray
from ftlab.data.transforms import preprocess
from ftlab.data.transforms.preprocess import Preprocessing

DEVICES = ["cpu", *("cuda" for _ in range(torch.cuda.is_available()))]


def noise(height: int, width: int, seed: int = 0) -> ImageArray:
    """Also black and white, where sums go beyond what a level can be."""
    dice = np.random.default_rng((height, width, seed))
    made = dice.integers(0, 256, (height, width, 3), np.uint8)
    return np.where(dice.random(made.shape) < 0.5, made, np.uint8(255) * (made > 127))


def squares(
    pictures: Sequence[ImageArray], cuts: Sequence[CropBox], side: int, interpolation: str, device: str
) -> Tensor:
    flat = torch.cat([torch.from_numpy(one).flatten() for one in pictures]).to(device)
    sizes = [(one.shape[0], one.shape[1]) for one in pictures]
    told = gpu_resize.plan_resize(sizes, cuts, side, interpolation)
    there = gpu_resize.ResizePlan(told.crop_sizes, *(table.to(device) for table in told.tables))
    return gpu_resize.resize_squares(flat, there).cpu()


SIZES = [(48, 48), (97, 31), (30, 200), (301, 260), (640, 333), (9, 8), (33, 32)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("mode", ["short", "squash"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("resize", "side"), [(32, 32), (36, 32), (37, 32), (90, 64)])
def test_an_evaluations_squares_are_torchs_to_the_bit(
    resize: int, side: int, interpolation: str, mode: str, device: str
) -> None:
    """Pictures of all sizes in one batch: a twentieth of theirs and ten times theirs."""
    prep = Preprocessing(resize, side, interpolation, (0.5,) * 3, (0.5,) * 3, mode)
    pictures = [noise(*size) for size in SIZES]
    cuts = [gpu_resize.eval_crop_box(*size, prep) for size in SIZES]
    expected = torch.stack([preprocess.resize_and_center_crop(one, prep) for one in pictures])
    made = squares(pictures, cuts, side, interpolation, device)
    assert made.dtype == torch.uint8
    assert torch.equal(made, expected)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_parts_of_pictures_are_scaled_as_if_there_were_nothing_else(interpolation: str, device: str) -> None:
    picture = noise(120, 150)
    parts = [(0, 0, 120, 150), (7, 11, 40, 90), (119, 149, 1, 1), (60, 0, 60, 3), (0, 100, 33, 50)]
    cuts = [CropBox(*part, 40, 40, 4, 4) for part in parts]
    made = squares([picture] * len(parts), cuts, 32, interpolation, device)
    for (top, left, height, width), square in zip(parts, made, strict=True):
        alone = preprocess.resize_to_size(picture[top : top + height, left : left + width], (40, 40), interpolation)
        assert torch.equal(square, alone[:, 4:36, 4:36])


def test_what_is_large_is_done_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    prep = Preprocessing(36, 32, "bilinear", (0.5,) * 3, (0.5,) * 3)
    cuts, pictures = [gpu_resize.eval_crop_box(*size, prep) for size in SIZES], [noise(*size) for size in SIZES]
    whole = squares(pictures, cuts, 32, "bilinear", "cpu")
    monkeypatch.setattr(gpu_resize, "MAX_CHUNK_PIXELS", 100 * 100)
    assert [(one.start, one.stop) for one in gpu_resize.iter_chunks(SIZES)] == [(0, 2), (2, 3), (3, 4), (4, 5), (5, 7)]
    assert torch.equal(squares(pictures, cuts, 32, "bilinear", "cpu"), whole)


def test_the_sums_are_exact_where_products_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a card that multiplies in TF32, with ten bits behind the point: what goes into a product has eight."""
    seen: list[Tensor] = []
    product = Tensor.__matmul__

    def watched(one: Tensor, other: Tensor) -> Tensor:
        seen.extend([one, other])
        return product(one, other)

    monkeypatch.setattr(Tensor, "__matmul__", watched)
    prep = Preprocessing(36, 32, "bicubic", (0.5,) * 3, (0.5,) * 3)
    squares([noise(640, 333)], [gpu_resize.eval_crop_box(640, 333, prep)], 32, "bicubic", "cpu")
    assert len(seen) == 8
    for one in seen:
        assert torch.equal(one, one.round())
        assert float(one.abs().max()) <= 256


@pytest.mark.skipif(sys.platform != "linux", reason="torch brings Triton on Linux only")
def test_the_kernel_of_a_card_gives_the_same() -> None:
    """Without a card by Triton's interpreter, which has to be asked for before Triton is imported."""
    program = """
        import torch
        from tests.data.gpu.test_gpu_resize import noise, squares
        from ftlab.data.gpu import gpu_resize
        from ftlab.data.transforms import preprocess
        from ftlab.data.transforms.preprocess import Preprocessing
        assert gpu_resize.load_triton_kernel(torch.device("cpu")), "it was refused"
        sizes = [(20, 31), (6, 9)]
        for interpolation in ("bilinear", "bicubic"):
            prep = Preprocessing(10, 8, interpolation, (0.5,) * 3, (0.5,) * 3)
            cuts, pictures = [gpu_resize.eval_crop_box(*size, prep) for size in sizes], [noise(*size) for size in sizes]
            expected = torch.stack([preprocess.resize_and_center_crop(one, prep) for one in pictures])
            assert torch.equal(squares(pictures, cuts, 8, interpolation, "cpu"), expected)
    """
    own = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], env=own, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="torch brings Triton on Linux only")
def test_the_kernel_is_compiled_for_a_card_without_one(tmp_path: Path) -> None:
    """By Triton's own compiler and assembler, for one of NVIDIA's of 2022 (sm_90)."""
    program = """
        from triton.backends.compiler import GPUTarget
        from triton.compiler import ASTSource, compile
        from ftlab.data.gpu import triton_resize as kernel
        kinds = {"pixels": "*u8", "output": "*u8", "BLOCK": "constexpr"}
        kinds |= dict.fromkeys(kernel.UNSPECIALIZED_SCALARS, "i32")
        kinds |= dict.fromkeys(kernel.UNALIGNED_TABLES[:3], "*i64") | dict.fromkeys(kernel.UNALIGNED_TABLES[3:], "*i32")
        signature = {one.name: kinds[one.name] for one in kernel.resize_kernel.params}
        source = ASTSource(kernel.resize_kernel, signature, {"BLOCK": kernel.BLOCK_PIXELS}, {})
        print(len(compile(source, target=GPUTarget("cuda", 90, 32)).asm["cubin"]))
    """
    own = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    own.pop("TRITON_INTERPRET", None)
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], env=own, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 1000


def test_where_there_is_no_kernel_products_do_the_sums() -> None:
    assert gpu_resize.load_triton_kernel(torch.device("cpu")) is None


def test_the_weights_of_a_length_are_worked_out_once() -> None:
    """Whatever part of an axis is wanted, and for whichever axis."""
    resize_taps.compute_axis_taps.cache_clear()
    for y in range(4):
        cuts = [CropBox(0, 0, 60, 90, 40, 40, y, 2), CropBox(5, 5, 90, 60, 40, 40)]
        gpu_resize.plan_resize([(70, 100), (100, 70)], cuts, 32, "bilinear")
    assert resize_taps.compute_axis_taps.cache_info().misses == 2
