"""A list of pictures and labels says what is what, as class folders do; what is amiss is named by line."""

from __future__ import annotations

import json
import os
import unicodedata
import zipfile
from pathlib import Path

import pytest

from ftlab.core.errors import DataError
from ftlab.data.dataset import catalog
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.dataset.scan import resplit, scan
from ftlab.data.dataset.split import SPLITS
from ftlab.data.manifests import text_files
from tests.support import drawn_images

PICTURE = drawn_images.png()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with `images/0.png` to `images/19.png`."""
    (tmp_path / "set" / "images").mkdir(parents=True)
    for number in range(20):
        (tmp_path / "set" / "images" / f"{number}.png").write_bytes(PICTURE)
    return tmp_path / "set"


def rows(*more: str, header: str = "path,label", first: int = 0) -> str:
    """A table: even pictures are ants, odd ones bees; then the lines of `more`."""
    body = [f"images/{n}.png,{'ants' if n % 2 == 0 else 'bees'}" for n in range(first, 20)]
    return "\n".join([*([header] if header else []), *body, *more]) + "\n"


def listed(place: Path, text: str | bytes, name: str = "pets.csv") -> Catalog:
    (place / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return scan(place / name)


def told(found: Catalog) -> dict[tuple[str, int], str]:
    """Problems as (file, line) -> code."""
    return {(one.file, int(one.values.get("line", 0))): one.code for one in found.problems}


def refused(place: Path, text: str, name: str = "pets.csv") -> DataError:
    with pytest.raises(DataError) as caught:
        listed(place, text, name)
    assert len(str(caught.value).splitlines()) == 1
    assert name in str(caught.value)
    return caught.value


def counts(found: Catalog) -> dict[str, tuple[int, ...]]:
    return {name: tuple(row[split] for split in SPLITS) for name, row in found.count_images().items()}


# --- what a list may look like


def test_without_a_split_the_pictures_are_dealt_as_those_of_class_folders_are(place: Path) -> None:
    found = listed(place, rows())
    assert found.layout == "list"
    assert found.root == place
    assert counts(found) == {"ants": (7, 2, 1), "bees": (7, 2, 1)}
    assert not found.problems
    assert scan(place / "pets.csv", seed=1).compute_fingerprint() != found.compute_fingerprint()
    again = resplit(found, val_share=0.3, test_share=0.0, seed=0)
    assert again == scan(place / "pets.csv", val_share=0.3, test_share=0.0)


def test_splits_are_taken_as_they_are_whatever_they_are_called(place: Path) -> None:
    words = ["train", "TRAINING", "val", "valid", "validation", "dev", "test", "Testing"]
    lines = [f"images/{n}.png,{name},{words[n % 8]}" for n in range(16) for name in (["ants", "bees"][n // 8],)]
    found = listed(place, "\n".join(["path,label,split", *lines]))
    assert found.layout == "list_split"
    assert counts(found) == {"ants": (2, 4, 2), "bees": (2, 4, 2)}
    assert resplit(found, val_share=0.5, test_share=0.2, seed=3) == found


def test_without_validation_some_training_pictures_validate(place: Path) -> None:
    lines = [f"images/{n}.png,{'ab'[n % 2]},{'test' if n >= 16 else 'train'}" for n in range(20)]
    found = listed(place, "\n".join(["path,label,split", *lines]))
    assert found.layout == "list_train_test"
    assert counts(found) == {"a": (7, 1, 2), "b": (7, 1, 2)}
    assert resplit(found, val_share=0.25, test_share=0.2, seed=0) == scan(place / "pets.csv", val_share=0.25)


def test_a_split_that_is_train_for_all_leaves_the_dealing_to_the_seed(place: Path) -> None:
    lines = [f"images/{n}.png,{'ab'[n % 2]},train" for n in range(20)]
    assert counts(listed(place, "\n".join(["path,label,split", *lines]))) == {"a": (7, 2, 1), "b": (7, 2, 1)}


@pytest.mark.parametrize(
    "header", ["file,class", "filename,category", "Image,LABEL", " path , label ", "file_name,class_name", ""]
)
def test_columns_go_by_their_names_or_by_their_places(place: Path, header: str) -> None:
    assert counts(listed(place, rows(header=header))) == {"ants": (7, 2, 1), "bees": (7, 2, 1)}


def test_columns_may_stand_in_any_order_beside_others(place: Path) -> None:
    lines = [f"{n},{'ab'[n % 2]},me,images/{n}.png" for n in range(20)]
    found = listed(place, "\n".join(["id,label,author,image", *lines]))
    assert counts(found) == {"a": (7, 2, 1), "b": (7, 2, 1)}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_spreadsheets_write_tables_in_many_ways(place: Path, delimiter: str, end: str, encoding: str) -> None:
    text = rows(header="path,label").replace("ants", '"Käfer, rot; klein"')
    lines = [line.replace(",", delimiter, 1) for line in text.splitlines()]
    found = listed(place, end.join(["", *lines, "", ""]).encode(encoding))
    assert found.classes == ("bees", "Käfer, rot; klein")
    assert not found.problems


@pytest.mark.parametrize("name", ["pets.jsonl", "metadata.ndjson"])
def test_json_lines_say_the_same(place: Path, name: str) -> None:
    lines = [json.dumps({"file_name": f"images/{n}.png", "label": n % 2, "x": [1]}) for n in range(20)]
    assert counts(listed(place, "\n".join([*lines, "", ""]), name)) == {"0": (7, 2, 1), "1": (7, 2, 1)}


def test_paths_are_found_however_they_are_written(place: Path) -> None:
    (place / "images" / unicodedata.normalize("NFD", "Käfer.png")).write_bytes(PICTURE)
    more = [
        f"{place / 'images' / '0.png'},ants",
        "images\\1.png,bees",
        "./images//x/../2.png,ants",
        "images/Käfer.png,ants",
    ]
    found = listed(place, rows(*more, first=3))
    assert not found.problems
    assert sum(len(items) for items in found.splits.values()) == 21
    assert all(found.image_path(item).is_file() for items in found.splits.values() for item in items)


def test_windows_text_is_read_and_named(place: Path) -> None:
    found = listed(place, rows().replace("ants", "Käfer").encode("cp1252"))
    assert found.classes == ("bees", "Käfer")
    assert told(found) == {("pets.csv", 0): "list_encoding"}


@pytest.mark.parametrize(
    ("encoding", "name"), [("gbk", "红茶"), ("cp932", "いちご"), ("cp949", "녹두"), ("cp1251", "ложка")]
)
def test_text_of_other_code_pages_is_read_and_named(place: Path, encoding: str, name: str) -> None:
    found = listed(place, rows().replace("ants", name).encode(encoding))
    assert found.classes == ("bees", name)
    assert told(found) == {("pets.csv", 0): "list_encoding_guess"}
    assert encoding in found.problems[0].problem


@pytest.mark.parametrize(
    ("labels", "classes", "codes"),
    [
        (("0", "0.0", "1", "1.0"), ("0", "1"), set()),
        (("2.", "-1.0"), ("-1", "2"), set()),
        (("0.0", "1.0", "nan"), ("0", "1", "nan"), {"list_missing_labels"}),
        (("0.0", "0.5"), ("0.0", "0.5"), set()),
        (("ants", "N/A", "None"), ("ants", "N/A", "None"), {"list_missing_labels"}),
    ],
)
def test_whole_numbers_are_one_class_and_labels_of_missing_ones_are_named(
    place: Path, labels: tuple[str, ...], classes: tuple[str, ...], codes: set[str]
) -> None:
    found = listed(place, "\n".join(["path,label", *(f"images/{n}.png,{labels[n % len(labels)]}" for n in range(20))]))
    assert set(found.classes) == set(classes)
    assert {problem.code for problem in found.problems} == codes


def test_a_label_is_one_class_however_its_accents_are_stored(place: Path) -> None:
    text = rows().replace("ants", "Käfer").replace("images/0.png,Käfer", "images/0.png,Ka\u0308fer")
    assert listed(place, text).classes == ("bees", "Käfer")


def test_a_catalog_of_a_list_survives_its_file(place: Path) -> None:
    found = listed(place, rows("images/77.png,ants"))
    stored = json.loads(json.dumps(found.to_json()))
    assert catalog.catalog_from_json(stored) == found
    assert stored["problems"][0]["line"] == 22


# --- what is amiss


def test_every_line_that_cannot_be_used_is_named_with_its_number(place: Path) -> None:
    (place / "images" / "bad.png").write_bytes(b"no picture")
    (place / "images" / "x.heic").write_bytes(b"x")
    (place / "folder.png").mkdir()
    found = listed(
        place,
        rows(
            "images/77.png,ants",  # 22
            ",ants",
            "images/0.png,",
            "images/0.png,ants",
            "images/1.png,wasps",
            "../out.png,ants",  # 27
            "/etc/passwd,ants",
            "images/bad.png,bees",
            "alone",
            "images/x.heic,ants",
            "folder.png,ants",  # 32
            "images/n\0l.png,ants",
            '"images/new\nline.png",ants',
            "images/78.png,ants",
            f"{'x' * 5000}.png,ants",  # 37
        ),
    )
    assert told(found) == {
        ("images/77.png", 22): "missing",
        ("pets.csv", 23): "list_no_path",
        ("images/0.png", 24): "list_no_label",
        ("images/0.png", 25): "list_twice",
        ("images/1.png", 26): "list_two_labels",
        ("../out.png", 27): "list_outside",
        ("/etc/passwd", 28): "list_outside",
        ("images/bad.png", 29): "not_a_picture",
        ("pets.csv", 30): "list_line",
        ("images/x.heic", 31): "format",
        ("folder.png", 32): "not_a_picture",
        ("images/n\0l.png", 33): "missing",
        ("images/new\nline.png", 34): "missing",
        ("images/78.png", 36): "missing",
        (f"{'x' * 5000}.png", 37): "missing",
    }
    assert "images/1.png" not in [item.path for items in found.splits.values() for item in items], "two labels"
    assert [one.location for one in found.problems if one.code == "list_line"] == ["pets.csv (line 30)"]
    assert "images/new\\x0aline.png (line 34)" in [one.location for one in found.problems]


def test_splits_that_contradict_each_other_or_say_nothing_are_named(place: Path) -> None:
    lines = [f"images/{n}.png,{'ab'[n % 2]},{'val' if n >= 14 else 'train'}" for n in range(18)]
    more = ["images/18.png,a,", "images/19.png,b,spare", "images/0.png,a,val"]
    found = listed(place, "\n".join(["path,label,split", *lines, *more]))
    assert told(found) == {
        ("images/18.png", 20): "list_no_split",
        ("images/19.png", 21): "list_split",
        ("images/0.png", 22): "list_two_splits",
    }
    assert counts(found) == {"a": (7, 2, 0), "b": (7, 2, 0)}


def test_classes_of_a_list_that_cannot_be_learnt_are_named(place: Path) -> None:
    lines = [f"images/{n}.png,{'ab'[n % 2]},{'val' if n >= 14 else 'train'}" for n in range(16)]
    more = [
        "images/16.png,single,train",
        "images/17.png,stray,val",
        "images/18.png,B,train",
        "images/99.png,gone,train",
    ]
    found = listed(place, "\n".join(["path,label,split", *lines, *more]))
    assert sorted((one.file.removeprefix("pets.csv: "), one.code) for one in found.problems) == [
        ("B", "few"),
        ("B", "not_in_val"),
        ("b", "alike"),
        ("images/99.png", "missing"),
        ("single", "few"),
        ("single", "not_in_val"),
        ("stray", "not_in_train"),
    ]
    assert found.classes == ("a", "B", "b", "single")


@pytest.mark.skipif(os.name == "nt", reason="making links needs rights on Windows")
def test_a_list_leads_out_of_its_folder_by_no_link_on_a_shared_server(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FTLAB_REFUSE_LINKS", "1")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret.png").write_bytes(PICTURE)
    (place / "file.png").symlink_to(tmp_path / "elsewhere" / "secret.png")
    (place / "folder").symlink_to(tmp_path / "elsewhere")
    (place / "loop.png").symlink_to("loop.png")
    (place / "same.png").symlink_to("images/0.png")
    more = ["file.png,ants", "folder/secret.png,ants", "loop.png,ants", "same.png,ants"]
    found = listed(place, rows(*more, first=1))
    assert told(found) == {
        ("file.png", 21): "link_out",
        ("folder/secret.png", 22): "link_out",
        ("loop.png", 23): "missing",
    }


@pytest.mark.skipif(os.name == "nt", reason="making links needs rights on Windows")
def test_a_list_may_name_links_that_lead_out_on_ones_own_machine(place: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "photo.png").write_bytes(PICTURE)
    (place / "file.png").symlink_to(tmp_path / "elsewhere" / "photo.png")
    (place / "folder").symlink_to(tmp_path / "elsewhere")
    found = listed(place, rows("file.png,ants", "folder/photo.png,ants", first=1))
    assert told(found) == {}


def test_a_list_that_cannot_be_used_is_refused_with_what_to_mend(place: Path) -> None:
    assert refused(place, "").code == "data.list_foreign"
    assert refused(place, "0,ants\n1,bees\n").code == "data.list_header"
    assert refused(place, "a,b\n1,2\n").code == "data.list_columns"
    assert "Found: a, b" in str(refused(place, "a,b\n1,2\n"))
    assert refused(place, "path\nimages/0.png\n").code == "data.list_columns"
    assert refused(place, "path,label\n").code == "data.list_no_pictures"
    assert refused(place, "path,label\nimages/77.png,a\n").code == "data.all_bad"
    assert refused(place, "path,label\nimages/0.png,a\nimages/1.png,a\n").code == "data.list_one_class"
    assert refused(place, "path,label,split\nimages/0.png,a,val\nimages/1.png,b,test\n").code == "data.list_no_train"
    text = "path,label,split\nimages/0.png,a,train\nimages/1.png,b,train\nimages/2.png,c,val\n"
    assert refused(place, text).code == "data.list_no_val"
    assert refused(place, f'path,label\n"images/0.png,{"a" * 200_000}\n').code == "data.list_line"
    assert refused(place, "not json", "pets.jsonl").code == "data.list_json"
    assert refused(place, "[1]", "pets.jsonl").code == "data.list_json"
    assert refused(place, "[" * 100_000, "pets.jsonl").code == "data.list_json"
    assert refused(place, '{"a": 1}', "pets.jsonl").code == "data.list_columns"


def test_a_list_that_is_too_large_or_not_there_is_said(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"none\.csv"):
        scan(place / "none.csv")
    monkeypatch.setattr(text_files, "MAX_MANIFEST_BYTES", 100)
    assert refused(place, rows()).code == "data.list_large"


# --- a list that lies in a folder or a zip


def test_a_folder_without_classes_and_with_one_list_uses_it(place: Path) -> None:
    (place / "labels.csv").write_text(rows())
    (place / "notes.csv").write_text("when,what\n1,2\n")
    found = scan(place)
    assert (found.layout, found.classes) == ("list", ("ants", "bees"))


def test_a_list_beside_a_folder_that_would_be_entered_is_seen(place: Path) -> None:
    for name in ("one", "two"):
        (place / "images" / name).mkdir()
    (place / "labels.jsonl").write_text(
        '{"path": "images/0.png", "label": "a"}\n{"path": "images/1.png", "label": "b"}'
    )
    assert scan(place).classes == ("a", "b")


def test_class_folders_win_over_a_list_and_the_list_is_named(tiny_folder: Path) -> None:
    (tiny_folder / "labels.csv").write_text("path,label\namber/amber_0.png,x\n")
    (tiny_folder / "results.csv").write_text("epoch,loss\n1,2\n")
    found = scan(tiny_folder)
    assert found.classes == ("amber", "blue", "green")
    assert told(found) == {("labels.csv", 0): "list_beside"}


def test_of_two_lists_none_is_guessed(place: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (place / name).write_text(rows())
    with pytest.raises(DataError) as caught:
        scan(place)
    assert caught.value.code == "data.list_unused"
    assert "a.csv, b.csv" in str(caught.value)


@pytest.mark.usefixtures("place")
def test_a_zip_of_pictures_and_a_list_uses_it(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as out:
        out.writestr("pets/labels.csv", rows("images/77.png,ants"))
        for number in range(20):
            out.writestr(f"pets/images/{number}.png", PICTURE)
    found = scan(tmp_path / "pets.zip")
    assert counts(found) == {"ants": (7, 2, 1), "bees": (7, 2, 1)}
    assert told(found) == {("images/77.png", 22): "missing"}
