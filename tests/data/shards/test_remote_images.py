"""Images of shards on a server, by their place: the same bytes as in the file, and few requests."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftlab.core.errors import DataError
from ftlab.data.images.tar_members import TarMember
from ftlab.data.shards import remote_images
from ftlab.data.shards.remote_images import RemoteImages
from tests.support.shard_server import serving_shards

CONTENT = bytes(range(256)) * 20_000


def test_images_that_follow_one_another_cost_one_request(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(CONTENT)
    images = RemoteImages()
    with serving_shards(tmp_path) as server:
        for offset in (0, 70_000, 65_000, 1_048_000, 2_000_000, 1_999_000):
            assert images.read(f"{server.url}/a.tar", offset, 3000) == CONTENT[offset : offset + 3000]
        assert len(server.asked) == 1


def test_a_path_below_an_address_is_read_from_there_and_others_stay_paths(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(CONTENT)
    with serving_shards(tmp_path) as server:
        path = Path(server.url) / TarMember("a.tar", 300, 40, "cats/1.jpg").make_path()
        source = remote_images.to_image_source(path)
        assert not isinstance(source, Path)
        assert source.read() == remote_images.read_remote_image(path).getvalue() == CONTENT[300:340]
        beyond = Path(server.url) / TarMember("a.tar", len(CONTENT) - 3, 40, "cats/2.jpg").make_path()
        with pytest.raises(DataError, match=r"a\.tar"):
            remote_images.read_remote_image(beyond)
    assert remote_images.to_image_source(tmp_path / "x.jpg") == tmp_path / "x.jpg"
