"""Images in tar files: read by a path below the tar file, as files are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ftlab.core.errors import ImageError
from ftlab.data.images import decode, tar_members
from ftlab.data.images.tar_members import TarMember
from ftlab.data.isolation import isolated
from tests.support.tar_shards import members, read_samples, write_tar


@pytest.fixture
def image_file(tiny_folder: Path) -> Path:
    return next((tiny_folder / "blue").iterdir())


@pytest.fixture
def path(tmp_path: Path, image_file: Path) -> Path:
    """A picture in the middle of a tar file."""
    content = image_file.read_bytes()
    file = write_tar(tmp_path / "a.tar", [*members("1"), *members("2", 0, content), *members("3")])
    sample = read_samples(file)[1]
    return Path(TarMember(str(file), sample.image_offset, len(content), "blue/cat.2024.jpg").make_path())


def test_a_member_has_the_pixels_and_the_size_of_its_file(path: Path, image_file: Path) -> None:
    assert np.array_equal(decode.read_image(path), decode.read_image(image_file))
    assert np.array_equal(isolated.read_image(path), decode.read_image(image_file))
    assert tar_members.read_image_state(path).size_bytes == image_file.stat().st_size
    with tar_members.open_image_file(path) as stream:
        assert stream.read() == image_file.read_bytes()


def test_a_name_leads_out_of_no_tar_file() -> None:
    member_path = TarMember("a.tar", 512, 7, "../../etc/x\\y\n.jpg").make_path()
    assert member_path == "a.tar/512+7/etc/x_y_.jpg"
    assert tar_members.split_member_path(member_path) == TarMember("a.tar", 512, 7, "etc/x_y_.jpg")
    assert tar_members.split_member_path("a.tar/512/x.jpg") is None


def test_a_real_file_of_such_a_path_is_itself(tmp_path: Path, image_file: Path) -> None:
    real = tmp_path / "b.tar/512+7/x.jpg"
    real.parent.mkdir(parents=True)
    real.write_bytes(image_file.read_bytes())
    assert np.array_equal(decode.read_image(real), decode.read_image(image_file))


def test_a_tar_file_that_is_gone_or_cut_is_told_by_the_member(path: Path) -> None:
    tar_file = path.parents[2]
    content = tar_file.read_bytes()
    tar_file.write_bytes(content[:2500])
    assert not tar_members.has_image(path)
    with pytest.raises(ImageError) as caught:
        decode.read_image(path)
    assert caught.value.code == "truncated"
    tar_file.unlink()
    with pytest.raises(ImageError) as caught:
        decode.read_image(path)
    assert caught.value.code == "missing"


def test_a_member_above_the_size_limit_is_refused_unread(path: Path) -> None:
    too_long = TarMember(str(path.parents[2]), 0, decode.MAX_FILE_BYTES + 1, "x.jpg").make_path()
    with pytest.raises(ImageError) as caught:
        decode.read_image(too_long)
    assert caught.value.code == "too_many_bytes"
