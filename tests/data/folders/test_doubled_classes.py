"""A class that was downloaded or copied twice is never trained as two classes without a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftlab.core.errors import DataError
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.dataset.scan import scan
from ftlab.data.folders.doubled_classes import get_original_name


def place(root: Path, *folders: str, contents: dict[str, str] | None = None) -> Path:
    """Folders with three files each, all of the same content unless `contents` names another one for a folder."""
    for folder in folders:
        (root / folder).mkdir(parents=True)
        for number in range(3):
            (root / folder / f"{number}.jpg").write_text((contents or {}).get(folder, "same"))
    return root


def read(root: Path, layout: str = "auto") -> Catalog:
    return scan(root, layout=layout, check=False)


def copies(catalog: Catalog) -> dict[str, object]:
    return {problem.file: problem.values["names"] for problem in catalog.problems if problem.code == "copy"}


COPY_NAMES = ("Cats (1)", "Cats(1)", "Cats - Copy", "Cats - Copy (2)", "Cats copy", "Cats copy 2", "Copy of Cats")
COPY_NAMES_ABROAD = (
    "Cats - Kopie",
    "Cats — копия",
    "Cats - 副本",
    "Cats - コピー",
    "Cats (another copy)",
    "cats (3rd copy)",
)


@pytest.mark.parametrize("name", [*COPY_NAMES, *COPY_NAMES_ABROAD])
def test_a_copy_with_the_same_files_is_left_out_and_named(tmp_path: Path, name: str) -> None:
    catalog = read(place(tmp_path, "Cats", name, "Dogs"))
    assert catalog.classes == ("Cats", "Dogs")
    assert copies(catalog) == {name: "Cats"}


@pytest.mark.parametrize("name", COPY_NAMES)
def test_a_copy_with_other_files_is_refused_with_the_likely_reason_and_the_remedy(tmp_path: Path, name: str) -> None:
    root = place(tmp_path, "Cats", name, "Dogs", contents={name: "new!"})
    with pytest.raises(DataError) as refusal:
        read(root)
    message = str(refusal.value)
    for part in (f"Cats, {name}", str(root), "downloaded or copied twice", "into one folder", "rename", "--layout"):
        assert part in message
    assert len(message.splitlines()) == 1
    assert read(root, "classes").classes == tuple(sorted(("Cats", name, "Dogs"), key=str.casefold))


def test_more_files_than_those_of_the_original_are_no_copy(tmp_path: Path) -> None:
    root = place(tmp_path, "cats", "cats (1)", "dogs")
    (root / "cats (1)" / "3.jpg").write_text("one more")
    with pytest.raises(DataError) as refusal:
        read(root)
    assert refusal.value.code == "data.layout.doubled"


def test_copies_in_splits_are_found_too(tmp_path: Path) -> None:
    folders = ("train/cats", "train/cats (1)", "train/cats (1) (1)", "train/dogs", "val/cats", "val/dogs")
    root = place(tmp_path, *folders)
    catalog = read(root)
    assert catalog.classes == ("cats", "dogs")
    assert copies(catalog) == {"train/cats (1)": "cats", "train/cats (1) (1)": "cats"}
    (root / "train" / "cats (1)" / "0.jpg").write_text("other")
    with pytest.raises(DataError, match="cats, cats "):
        read(root)
    assert read(root, "splits").classes[:2] == ("cats", "cats (1)")


def test_a_copy_is_the_only_other_class(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Only one class"):
        read(place(tmp_path, "cats", "cats (1)"))


@pytest.mark.parametrize(
    "names", [("cats (1)", "dogs"), ("grade (1)", "grade (2)"), ("copy", "original"), ("photo", "photocopy")]
)
def test_names_without_an_original_beside_them_are_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    assert read(place(tmp_path, *names)).classes == names


def test_an_empty_folder_is_no_copy(tmp_path: Path) -> None:
    root = place(tmp_path, "cats", "dogs")
    (root / "cats (1)").mkdir()
    catalog = read(root)
    assert catalog.classes == ("cats", "dogs")
    assert not copies(catalog)


@pytest.mark.parametrize(
    ("name", "original"),
    [
        *((name.casefold(), "cats") for name in COPY_NAMES if name != "Cats - Copy (2)"),
        ("cats - copy (2)", "cats - copy"),
        ("cats 2", ""),
        ("class (a)", ""),
        ("(1)", ""),
        ("copy", ""),
    ],
)
def test_a_name_tells_what_it_is_a_copy_of(name: str, original: str) -> None:
    assert get_original_name(name) == original
