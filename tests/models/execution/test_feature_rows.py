"""Features in half precision: nothing overflows, and what is lost has a bound."""

from __future__ import annotations

import pytest
import torch

from ftlab.models.execution import feature_rows


@pytest.mark.parametrize("magnitude", [0.0, 1e-44, 1e-38, 1e-5, 1.0, 6e4, 1e10, 3e38])
def test_each_value_keeps_eleven_bits_whatever_the_magnitude(magnitude: float) -> None:
    vectors = torch.linspace(-1, 1, 2 * 3 * 999).view(2, 3, 999) ** 5 * magnitude
    rows = feature_rows.pack_rows(vectors, "fp16")
    assert (rows.dtype, rows.shape) == (torch.float16, (2, 3, 1000))
    unpacked = feature_rows.unpack_rows(rows)
    errors, largest = (unpacked - vectors).abs().double(), vectors.abs().amax(-1, keepdim=True).double()
    assert (errors <= vectors.abs().double() * 2**-11 + largest * 2**-39).all()


def test_large_and_small_vectors_do_not_share_a_scale() -> None:
    vectors = torch.tensor([[1e-20, 3e-20], [1e20, 3e20], [0.0, 0.0]])
    unpacked = feature_rows.unpack_rows(feature_rows.pack_rows(vectors, "fp16"))
    assert torch.allclose(unpacked, vectors, rtol=2**-11, atol=0.0)


def test_what_float16_can_say_comes_back_to_the_bit() -> None:
    vectors = torch.tensor([[0.5, -6.0, 0.0, 1.25], [3.0, 1024.0, 0.125, -0.0]])
    unpacked = feature_rows.unpack_rows(feature_rows.pack_rows(vectors, "fp16"))
    assert torch.equal(unpacked.view(torch.int32), vectors.view(torch.int32))


def test_values_that_are_no_numbers_stay_so() -> None:
    vectors = torch.tensor([[float("inf"), -1.5], [float("nan"), 2.0]])
    unpacked = feature_rows.unpack_rows(feature_rows.pack_rows(vectors, "fp16"))
    assert torch.equal(unpacked.isnan(), vectors.isnan())
    assert unpacked[0].tolist() == [float("inf"), -1.5]


def test_single_precision_is_kept_as_it_is() -> None:
    vectors = torch.randn(2, 3, 5)
    assert feature_rows.unpack_rows(feature_rows.pack_rows(vectors, "fp32")) is vectors


@pytest.mark.parametrize("shape", [(2, 0, 0), (2, 0, 5)])
def test_of_no_image_there_are_no_rows(shape: tuple[int, ...]) -> None:
    rows = feature_rows.pack_rows(torch.empty(shape), "fp16")
    assert (rows.shape, rows.dtype) == ((*shape[:-1], shape[-1] + 1), torch.float16)
