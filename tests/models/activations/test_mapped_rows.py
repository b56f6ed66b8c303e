"""Tables in files that nobody else sees."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
import torch

from ftlab.models.activations import mapped_rows


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FTLAB_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_table_holds_what_is_put_into_it_in_half_precision() -> None:
    table = mapped_rows.allocate_mapped((2, 30, 1000), torch.float16)
    assert (table.shape, table.dtype, table.device.type) == ((2, 30, 1000), torch.float16, "cpu")
    values = torch.randn(30, 1000)
    table[1] = values
    assert torch.equal(table[1, 7], values[7].half())
    assert torch.equal(table[:, [3, 5]][1], values[[3, 5]].half())


def test_nothing_is_left_of_it(home: Path) -> None:
    table = mapped_rows.allocate_mapped((1, 10, 10), torch.float32)
    table.fill_(1.0)
    del table
    gc.collect()
    assert list(home.iterdir()) == []


def test_a_table_without_rows_needs_no_file(home: Path) -> None:
    assert mapped_rows.allocate_mapped((2, 0, 5), torch.float16).shape == (2, 0, 5)
    assert not home.exists()


def test_a_full_disk_is_an_error_before_anything_is_written() -> None:
    with pytest.raises(OSError):  # noqa: PT011 (each system words it in its own way)
        mapped_rows.allocate_mapped((1, 1 << 30, 1 << 20), torch.float16)
