"""The command that writes a data set as shards."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ftlab.data.shards.shard_index import read_index


def test_shard_writes_a_folder_and_says_what(say: Any, tiny_folder: Path, tmp_path: Path) -> None:
    status, out, err = say("shard", tiny_folder, tmp_path / "out", "--images-per-shard", 10)
    assert (status, err) == (0, "")
    assert out.startswith(f"{tmp_path / 'out'} has 24 pictures of 3 classes in 4 shards")
    index = read_index(tmp_path / "out")
    assert [index.count_samples(split) for split in ("train", "val", "test")] == [18, 3, 3]
    status, out, _ = say("shard", tiny_folder, tmp_path / "json", "--images-per-shard", 10, "--json")
    assert json.loads(out) == {"out": str(tmp_path / "json"), **index.to_json(), "problems": []}


def test_images_that_cannot_be_decoded_are_told_and_the_others_written(
    say: Any, tiny_folder: Path, tmp_path: Path
) -> None:
    (tiny_folder / "amber" / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    status, out, err = say("shard", tiny_folder, tmp_path / "out")
    assert status == 0
    assert "24 pictures" in out
    assert [line for line in err.splitlines() if line.startswith("amber/broken.jpg: ")]


def test_a_list_and_the_flags_of_a_split_are_taken(say: Any, tiny_folder: Path, tmp_path: Path) -> None:
    rows = [f"{path.relative_to(tiny_folder).as_posix()},{path.parent.name}" for path in tiny_folder.glob("[ab]*/*")]
    (tiny_folder / "list.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    status, _, _ = say("shard", tiny_folder / "list.csv", tmp_path / "out", "--test-share", 0, "--val-share", 0.25)
    index = read_index(tmp_path / "out")
    assert (status, index.classes) == (0, ("amber", "blue"))
    assert [index.count_samples(split) for split in ("train", "val", "test")] == [12, 4, 0]


@pytest.mark.parametrize(
    ("flags", "said"),
    [(("--images-per-shard", 0), "--images-per-shard 0"), (("--max-mb", -1), "--max-mb -1"), ((), "other files")],
)
def test_a_mistake_is_one_line_and_writes_nothing(
    say: Any, tiny_folder: Path, tmp_path: Path, flags: tuple[object, ...], said: str
) -> None:
    out = tmp_path / "out" if flags else tiny_folder
    status, printed, err = say("shard", tiny_folder, out, *flags)
    assert (status, printed) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_the_command_reads_its_flags_without_numpy_and_pillow() -> None:
    code = (
        "import sys\nfrom ftlab.cli.main import build_parser\nbuild_parser().parse_args(['shard', 'a', 'b'])\n"
        "print({'numpy', 'PIL', 'torch', 'webdataset'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
