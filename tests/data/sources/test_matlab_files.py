"""Labels in MATLAB files are named with a command that converts them, and the command does so."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from ftlab.core.errors import DataError
from ftlab.data.dataset.scan import scan
from ftlab.data.sources import matlab_files

LABELS = (1, 1, 2, 2, 1, 2)
CAR_NAMES = ["AM General Hummer SUV 2000", "Acura RL Sedan 2012"]
CAR_CLASSES = ("Acura RL Sedan 2012", "AM General Hummer SUV 2000")
TRAIN_CARS = [{"fname": f"{number:05d}.jpg", "class": np.uint8(label)} for number, label in enumerate(LABELS, 1)]
ALL_CARS = [
    {
        "relative_im_path": f"car_ims/{number:06d}.jpg",
        "class": np.uint8(label),
        "test": np.uint8(number > 4),
    }
    for number, label in enumerate(LABELS, 1)
]
VARIABLES: dict[str, dict[str, Any]] = {
    "imagelabels.mat": {"labels": np.array([LABELS], np.uint8)},
    "setid.mat": {"trnid": np.array([[1, 3]]), "valid": np.array([[5, 6]]), "tstid": np.array([[2, 4]])},
    "cars_annos.mat": {"annotations": ALL_CARS, "class_names": CAR_NAMES},
    "cars_train_annos.mat": {"annotations": TRAIN_CARS},
    "cars_meta.mat": {"class_names": CAR_NAMES},
}
"""Variables of the published files, as SciPy loads them."""


@pytest.fixture
def scipy_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """A `scipy.io.loadmat` that gives the variables of the published files: ftlab does not need SciPy itself."""
    scipy, scipy_io = ModuleType("scipy"), ModuleType("scipy.io")

    def loadmat(name: str, *, simplify_cells: bool = False) -> dict[str, Any]:
        # Structs are dictionaries, and cells lists, only if asked for.
        assert simplify_cells == name.startswith("cars")
        return VARIABLES[name]

    scipy_io.loadmat = loadmat  # type: ignore[attr-defined]
    scipy.io = scipy_io  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "scipy", scipy)
    monkeypatch.setitem(sys.modules, "scipy.io", scipy_io)


def place(root: Path, images: str, files: list[str]) -> Path:
    """Images named by numbers, and MATLAB files with the published header."""
    for number in range(1, len(LABELS) + 1):
        image = root / images.format(number)
        image.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes(b"x")
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\x01IM" + bytes(200))
    return root


def run_command(message: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run what the quotation marks after `python -c` hold, in a folder."""
    match = re.search(r'python -c "([^"]+)"', message)
    assert match, message
    monkeypatch.chdir(folder)
    exec(match[1], {"__name__": "__main__"})


@pytest.mark.parametrize(
    ("images", "files", "classes", "splits"),
    [
        ("jpg/image_{:05d}.jpg", ["imagelabels.mat", "setid.mat"], ("1", "2"), (2, 2, 2)),
        ("jpg/image_{:05d}.jpg", ["imagelabels.mat"], ("1", "2"), (2, 2, 2)),
        ("car_ims/{:06d}.jpg", ["cars_annos.mat"], CAR_CLASSES, (2, 2, 2)),
        (
            "cars_train/{:05d}.jpg",
            ["devkit/cars_meta.mat", "devkit/cars_train_annos.mat"],
            CAR_CLASSES,
            (2, 2, 2),
        ),
        ("cars_train/{:05d}.jpg", ["devkit/cars_train_annos.mat"], ("1", "2"), (2, 2, 2)),
    ],
)
@pytest.mark.usefixtures("scipy_stand_in")
def test_the_command_in_the_refusal_writes_a_list_that_is_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    images: str,
    files: list[str],
    classes: tuple[str, ...],
    splits: tuple[int, ...],
) -> None:
    root = place(tmp_path / "set", images, files)
    with pytest.raises(DataError, match=r"a MATLAB file.*pip install scipy") as refusal:
        scan(root, check=False)
    assert len(str(refusal.value).splitlines()) == 1
    run_command(str(refusal.value), (root / files[0]).parent, monkeypatch)
    catalog = scan(root, check=False)
    assert catalog.classes == classes
    assert tuple(map(len, catalog.splits.values())) == splits


def test_a_matlab_file_itself_is_refused_with_the_command(tmp_path: Path) -> None:
    root = place(tmp_path, "jpg/image_{:05d}.jpg", ["imagelabels.mat"])
    with pytest.raises(DataError, match=r"imagelabels\.mat is a MATLAB file.*loadmat\('imagelabels\.mat'\)"):
        scan(root / "imagelabels.mat")


@pytest.mark.parametrize(("name", "shown"), [("wood (1).mat", "wood (1).mat"), ("a'$(b)`.mat", "FILE.mat")])
def test_the_content_of_another_file_is_printed(tmp_path: Path, name: str, shown: str) -> None:
    (tmp_path / name).touch()
    command = matlab_files.format_conversion(tmp_path / name)
    assert f"print(io.loadmat('{shown}',simplify_cells=True))" in command


def test_annotations_of_single_images_are_no_lists(tmp_path: Path) -> None:
    files = [f"annotations/{number}.mat" for number in range(9)]
    root = place(tmp_path, "{}.jpg", files)
    with pytest.raises(DataError) as refusal:
        scan(root, check=False)
    assert refusal.value.code == "data.loose"


@pytest.mark.parametrize("files", list(VARIABLES))
def test_no_shell_finds_a_character_of_its_own_in_a_command(tmp_path: Path, files: str) -> None:
    (tmp_path / files).touch()
    script = matlab_files.format_conversion(tmp_path / files).removeprefix('python -c "').removesuffix('"')
    assert not set(script) & set('"$`\\!%\n')
