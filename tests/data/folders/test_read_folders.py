"""Folders of splits, parts, variants, copies and masks never become classes without a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftlab.core.errors import DataError
from ftlab.data.dataset.catalog import Catalog, catalog_from_json
from ftlab.data.dataset.scan import scan
from ftlab.data.folders import folder_words
from tests.support import ROOT, public_layouts
from tests.support.public_layouts import LAYOUTS, PublicLayout


def read(root: Path, *folders: str, layout: str = "auto", copies: dict[str, str] | None = None) -> Catalog:
    """The catalogue of folders, each with three images, whose files are never opened."""
    public_layouts.make_folders(PublicLayout("", [*folders], "", copies or {}), root)
    return scan(root, layout=layout, check=False)


def refused(root: Path, *folders: str, layout: str = "auto") -> DataError:
    with pytest.raises(DataError) as caught:
        read(root, *folders, layout=layout)
    assert "\n" not in str(caught.value)
    return caught.value


def codes(catalog: Catalog) -> dict[str, str]:
    return {problem.file: problem.code for problem in catalog.problems if problem.code != "few"}


def count(catalog: Catalog) -> dict[str, int]:
    return {split: len(items) for split, items in catalog.splits.items()}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty folder."""
    (tmp_path / "pictures").mkdir()
    return tmp_path / "pictures"


# Public data sets


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_the_folders_of_public_data_sets_are_read_as_the_table_says(layout: PublicLayout, place: Path) -> None:
    root = public_layouts.make_folders(layout, place)
    assert public_layouts.describe_outcome(root) == layout.outcome


def test_the_documented_table_is_that_of_the_test() -> None:
    assert len(LAYOUTS) >= 40
    assert public_layouts.format_table() in (ROOT / "docs" / "robustness.md").read_text(encoding="utf-8")


# Names


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *((name, "train") for name in ("train-2023", "Training", "TrainingSet", "my_train_images", "trainset", "trn")),
        *((name, "val") for name in ("valid", "VALIDATION", "val2017", "dev-set", "validation_data")),
        *((name, "test") for name in ("test", "my_test_images", "hold-out", "HoldOut", "evaluation", "testB", "test1")),
        *((name, None) for name in ("station", "trainer", "contest", "valve", "attest", "device", "train vs. test")),
    ],
)
def test_a_name_names_a_split_by_whole_words(name: str, split: str | None) -> None:
    parsed = folder_words.parse_split_name(name)
    assert (parsed and parsed.split) == split


@pytest.mark.parametrize("pattern", ["{}-2023", "my_{}_images", "{}ing set", "ISIC {} Input (224)", "data.{}"])
def test_splits_are_read_with_prefixes_suffixes_and_years(place: Path, pattern: str) -> None:
    catalog = read(place, *(f"{pattern.format(split)}/{{cat,dog}}/" for split in ("train", "test")))
    assert (catalog.classes, catalog.layout) == (("cat", "dog"), "train_test")
    assert catalog.describe_reading().startswith("2 splits × 2 classes, because folders are named like splits (")
    assert not codes(catalog)


def test_classes_whose_names_hold_words_of_splits_stay_classes(place: Path) -> None:
    catalog = read(place, "{bullet train,crash_test,dev board,test tube}/")
    assert catalog.classes == ("bullet train", "crash_test", "dev board", "test tube")
    assert not codes(catalog)


def test_a_class_that_is_named_like_a_split_is_pointed_out(place: Path) -> None:
    catalog = read(place, "{cat,dog,test}/")
    assert catalog.classes == ("cat", "dog", "test")
    assert codes(catalog) == {"test": "class_named_split"}


# Splits


def test_a_split_without_class_folders_is_named_and_left_out(place: Path) -> None:
    catalog = read(place, "train/{cat,dog}/", "val/images/", "test/")
    assert catalog.layout == "flat"
    assert codes(catalog) == {"test": "unlabeled_split", "val": "unlabeled_split"}
    assert sum(count(catalog).values()) == 6


def test_evaluation_is_the_test_split_and_beside_test_the_validation(place: Path) -> None:
    assert count(read(place / "a", "{train,val,evaluation}/{a,b}/"))["test"] == 6
    with_test = read(place / "b", "{train,test,evaluation}/{a,b}/")
    assert {item.path.partition("/")[0] for item in with_test.splits["val"]} == {"evaluation"}


def test_one_class_that_a_split_alone_holds_is_no_wrapper(place: Path) -> None:
    catalog = read(place, "train/{cat,dog}/", "val/cat/{images,more}/")
    assert catalog.count_images()["cat"]["val"] == 6


def test_splits_without_train_are_refused(place: Path) -> None:
    refusal = refused(place, "{val,test}/{cat,dog}/")
    assert refusal.code == "data.layout.levels"
    assert str(place / "test") in str(refusal)


# Levels


def test_a_refusal_names_both_levels_and_a_folder_that_would_do(place: Path) -> None:
    refusal = str(refused(place, "{photo,sketch}/{dog,house}/"))
    for part in ("photo, sketch", "dog, house", str(place / "photo"), "--layout", "inner_classes"):
        assert part in refusal


@pytest.mark.parametrize(("layout", "classes"), [("classes", ("photo", "sketch")), ("inner_classes", ("dog", "house"))])
def test_one_choice_corrects_a_reading(place: Path, layout: str, classes: tuple[str, ...]) -> None:
    catalog = read(place, "{photo,sketch}/{dog,house}/", layout=layout)
    assert (catalog.classes, catalog.layout) == (classes, "flat")
    assert sum(count(catalog).values()) == 12
    assert "because you chose" in catalog.describe_reading()


def test_splits_can_be_read_as_classes_and_something_else_not_as_splits(place: Path) -> None:
    assert read(place / "a", "{train,val}/{cat,dog}/", layout="classes").classes == ("train", "val")
    assert read(place / "b", "{train,test,car,plane}/{a,b}/", layout="splits").classes == ("a", "b")
    assert refused(place / "c", "{cat,dog}/", layout="splits").code == "data.layout.no_splits"


def test_classes_that_are_many_keep_their_sub_folders_with_a_warning(place: Path) -> None:
    catalog = read(place, "{ant,bee,cat,dog,eel,fox}/{indoor,outdoor}/")
    assert len(catalog.classes) == 6
    assert codes(catalog) == {".": "two_levels"}


@pytest.mark.parametrize("inner", ["{cat,dog}/ plants/{rose,oak}/", "{cat,dog,other}/ plants/{rose,oak,other}/"])
def test_a_genuine_hierarchy_is_read_by_its_upper_level(place: Path, inner: str) -> None:
    catalog = read(place, *f"animals/{inner}".split())
    assert catalog.classes == ("animals", "plants")
    assert "belong to their class" in catalog.describe_reading()
    assert not codes(catalog)


def test_data_sets_beside_each_other_are_refused(place: Path) -> None:
    assert refused(place, "{a,b}/{train,val}/{cat,dog}/").code == "data.layout.sets"
    assert refused(place / "x", "train/{cat,dog}/", "spare/").code == "data.layout.mixed"


# Copies and masks


def test_a_copy_is_one_only_if_its_files_are_the_same(place: Path) -> None:
    folders = ("{yes,no}/", "more/{yes,no}/")
    same = read(place / "same", *folders, copies={"more/": ""})
    other = read(place / "other", *folders)
    assert (codes(same), codes(other)) == ({"more": "copy"}, {"more": "nested_classes"})
    assert same.classes == other.classes == ("no", "yes")


def test_files_of_one_name_and_size_are_no_copies_if_their_content_differs(place: Path) -> None:
    for folder in ("color/cat", "color/dog", "grey_/cat", "grey_/dog"):
        read_path = place / folder
        read_path.mkdir(parents=True)
        (read_path / "1.bmp").write_text(folder)
    with pytest.raises(DataError) as caught:
        scan(place, check=False)
    assert caught.value.code == "data.layout.levels"


def test_masks_are_left_out_only_beside_the_pictures_that_they_belong_to(place: Path) -> None:
    catalog = read(place / "a", "{cat,dog}/{images,masks}/")
    assert codes(catalog) == {"cat/masks": "masks", "dog/masks": "masks"}
    assert not any("masks" in item.path for items in catalog.splits.values() for item in items)
    assert codes(read(place / "b", "{cat,dog}/", "{cat,dog}/mask/")) == {"cat/mask": "masks", "dog/mask": "masks"}
    costumes = read(place / "c", "carnival/{hat,mask}/", "sport/{ball,shoe}/", "{mask,no_mask}/")
    assert costumes.classes == ("carnival", "mask", "no_mask", "sport")
    assert sum(count(costumes).values()) == 18


def test_mask_files_are_left_out_where_their_picture_lies_beside(place: Path) -> None:
    catalog = read(place, "benign/{a,b,a_mask,b_mask,b_mask_1,gas_mask}.png", "malignant/")
    assert codes(catalog) == {"benign": "mask_files"}
    assert sum(catalog.count_images()["benign"].values()) == 3


# Lists


def test_the_list_beside_can_be_chosen(place: Path) -> None:
    (place / "labels.csv").write_text("path,label\ncat/0.jpg,feline\ndog/0.jpg,canine\n", encoding="utf-8")
    assert read(place, "{cat,dog}/").classes == ("cat", "dog")
    chosen = scan(place, layout="list", check=False)
    assert (chosen.classes, chosen.layout) == (("canine", "feline"), "list")
    assert chosen.describe_reading() == "2 classes, because the list labels.csv gives the labels."
    (place / "second.csv").write_text("path,label\ncat/0.jpg,a\n", encoding="utf-8")
    assert refused(place, layout="list").code == "data.layout.several_lists"
    assert refused(place / "none", "{cat,dog}/", layout="list").code == "data.layout.no_list"


def test_a_reading_survives_its_file_and_old_files_have_none(place: Path) -> None:
    catalog = read(place, "{train,val}/{cat,dog}/")
    stored = catalog.to_json()
    assert catalog_from_json(stored) == catalog
    assert stored["reading"]["sentence"] == catalog.describe_reading()
    del stored["reading"]
    assert catalog_from_json(stored).describe_reading() == "2 splits × 2 classes."
