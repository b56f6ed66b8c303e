"""A folder of images pushed to a stand-in of the Hub by the unmodified client, and pulled from there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftlab.data.dataset.scan import scan
from tests.support import ROOT
from tests.support.hub_server import TOKEN, HubServer, serving_hub
from tests.support.image_folders import CLASSES, make_folders, save_image

NAME = "me/colors"
REPO = f"datasets/{NAME}"
_PULL = """
import sys
from huggingface_hub import snapshot_download
snapshot_download(sys.argv[1], repo_type="dataset", local_dir=sys.argv[2])
"""


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with serving_hub() as server:
        yield server


def start(hub: HubServer, home: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **hub.environment(home)}
    return subprocess.run(
        [sys.executable, *command], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )


def push(hub: HubServer, folder: Path, *flags: str, name: str = NAME) -> subprocess.CompletedProcess[str]:
    home = folder.parent / "home"
    return start(hub, home, "-m", "ftlab", "push-data", str(folder), f"--to={name}", *flags)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folders(tmp_path / "colors", *(f"{split}/{name}" for split in ("train", "val") for name in CLASSES))


def test_a_data_set_is_pushed_privately_and_pulled_byte_by_byte(hub: HubServer, folder: Path, tmp_path: Path) -> None:
    (folder / "train" / "amber" / "broken.jpg").write_bytes(b"no image")
    (tmp_path / "secret.jpg").write_bytes(save_image(tmp_path / "diary.jpg").read_bytes())
    (folder / "train" / "blue" / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    pushed = push(hub, folder)
    assert pushed.returncode == 0, pushed.stderr
    assert REPO in hub.private
    assert f"{hub.url}/{REPO} has 8 pictures now, private" in pushed.stdout
    size = sum(path.stat().st_size for path in folder.rglob("[01].jpg")) / 1e6
    assert f"8 pictures, {size:.1f} MB, go to {NAME}, which only you" in pushed.stderr
    # What is left out is told: a damaged file, and a link to what lies elsewhere.
    assert "broken.jpg" in pushed.stderr
    assert "link.jpg" in pushed.stderr
    files = hub.commits[REPO][-1][1]
    assert set(files) == {".gitattributes", "README.md"} | {
        f"{split}/{name}/{number}.jpg" for split in ("train", "validation") for name in CLASSES for number in (0, 1)
    }
    pulled = tmp_path / "pulled"
    answered = start(hub, tmp_path / "home", "-c", _PULL, NAME, str(pulled))
    assert answered.returncode == 0, answered.stderr
    for name in CLASSES:
        assert (pulled / "validation" / name / "1.jpg").read_bytes() == (folder / "val" / name / "1.jpg").read_bytes()
    again, before = scan(pulled), scan(folder)
    assert again.count_images() == {
        name: {split: count - (name == "blue" and split == "train") for split, count in counts.items()}
        for name, counts in before.count_images().items()
    }
    assert TOKEN not in pushed.stdout + pushed.stderr


def test_a_second_push_adds_what_is_new(hub: HubServer, folder: Path) -> None:
    assert push(hub, folder).returncode == 0
    save_image(folder / "train" / "blue" / "new.jpg")
    answered = push(hub, folder, "--json")
    assert answered.returncode == 0, answered.stderr
    answer = json.loads(answered.stdout)
    assert (answer["images"], answer["private"], answer["commit"]) == (9, True, hub.commits[REPO][-1][0])
    assert "train/blue/new.jpg" in hub.commits[REPO][-1][1]
    assert b"| blue | 3 | 2 |" in hub.commits[REPO][-1][1]["README.md"]


def test_a_public_repository_is_refused_unless_it_is_wanted(hub: HubServer, folder: Path) -> None:
    published = push(hub, folder, "--public")
    assert published.returncode == 0, published.stderr
    assert "where EVERYBODY can see them" in published.stderr
    assert REPO not in hub.private
    commit_count = len(hub.commits[REPO])
    refused = push(hub, folder)
    assert refused.returncode == 2
    assert "exists, and everybody can see it" in refused.stderr.splitlines()[-1]
    assert len(hub.commits[REPO]) == commit_count


def test_images_that_say_where_they_were_taken_are_not_published(hub: HubServer, folder: Path) -> None:
    save_image(folder / "train" / "blue" / "home.jpg", has_position=True)
    refused = push(hub, folder, "--public")
    assert refused.returncode == 2
    last_line = refused.stderr.splitlines()[-1]
    assert "1 of the pictures say where they were taken" in last_line
    assert "home.jpg" in last_line
    assert REPO not in hub.commits
    assert push(hub, folder).returncode == 0


@pytest.mark.parametrize("name", ["a", "a/b/c", "../x", "me/flo wers", "me/x\ny", "-a/b"])
def test_a_name_that_is_none_is_refused_in_one_line_before_the_folder_is_read(
    hub: HubServer, folder: Path, name: str
) -> None:
    (folder / "train" / "amber" / "broken.jpg").write_bytes(b"no image")
    refused = push(hub, folder, name=name)
    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 1
    assert "cannot be the name of a repository" in refused.stderr
    assert not hub.requests
