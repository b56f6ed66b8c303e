"""Lists that lie in a data set are read where it is clear what they mean, and otherwise named with the reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ftlab.core.errors import DataError
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.dataset.scan import scan
from ftlab.data.dataset.split import SPLITS
from tests.support import drawn_images

PICTURE = drawn_images.png()
NAMES = [f"{name}{number}" for name in ("cat", "dog") for number in range(4)]

Draw = Callable[..., None]


@pytest.fixture
def draw(tmp_path: Path) -> Draw:
    """Writes pictures into a folder of the data set: four cats and four dogs, or those that are named."""

    def write(folder: str, names: list[str] = NAMES, suffix: str = ".png") -> None:
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for name in names:
            (tmp_path / folder / f"{name}{suffix}").write_bytes(PICTURE)

    return write


def write_list(file: Path, header: str, row: str = "{name},{label}", names: list[str] = NAMES) -> None:
    """A list of some pictures; `row` is filled with the name of each, its class and its number."""
    rows = [row.format(name=name, label=name[:3], cat=int(name[0] == "c"), dog=int(name[0] == "d")) for name in names]
    file.write_text("\n".join([*([header] if header else []), *rows, ""]))


def problems(catalog: Catalog) -> dict[str, str]:
    return {problem.file: problem.code for problem in catalog.problems}


def totals(catalog: Catalog) -> dict[str, int]:
    return {name: sum(counts.values()) for name, counts in catalog.count_images().items()}


def per_split(catalog: Catalog) -> tuple[int, ...]:
    return tuple(len(catalog.splits[split]) for split in SPLITS)


def task(kind: str, name: str, label: str) -> str:
    """What Label Studio exports of one picture, as a template."""
    return (
        f'{{{{"data": {{{{"image": "/data/upload/1/{name}.png"}}}}, '
        f'"annotations": [{{{{"result": [{{{{"value": {{{{"{kind}": ["{label}"]}}}}}}}}]}}}}]}}}}'
    )


# --- where the pictures are


@pytest.mark.parametrize(
    ("folder", "header", "row"),
    [
        ("train", "id,breed", "{name},{label}"),
        ("train_images", "image_id,label", "{name}.png,{label}"),
        ("images", "id_code,diagnosis", "{name},{label}"),
        ("a/b", "image,species", "{name}.PNG,{label}"),
        ("images", "filename,labels", "images/{name}.png,{label}"),
        ("data/images", "filename,label", "images/{name},{label}"),
        ("x", "path,label", "C:\\Users\\me\\set\\x\\{name}.png,{label}"),
        ("x", "path,label", "/home/me/set/{name}.png,{label}"),
        ("x", "path,label", "../input/set/x/{name}.png,{label}"),
        ("x", "path,label", "/x/{name}.png,{label}"),
        ("x", "image;label", "{name};{label}"),
        ("x", "sep=;\nimage;label", "./{name}.png;{label}"),
        ("x", "", "{name},{label}"),
        ("x", "", "x/{name}.png,{label}"),
        ("x", "lesion_id,image_id,dx,age", "L1,{name},{label},80"),
        ("x", "image,cat,dog", "{name},{cat}.0,{dog}.0"),
        ("x", "filename, cat, dog, bird", "{name}.png, {cat}, {dog}, 0"),
        ("x", "Filename,Label,ClassName", "{name}.png,{cat},{label}"),
        ("x", "file,xmin,ymin,label", "{name}.png,3,4,{label}"),
        ("x", "", "{name}.png,3,4,{label}"),
    ],
)
def test_a_list_finds_its_pictures_below_the_folder(
    tmp_path: Path, draw: Draw, folder: str, header: str, row: str
) -> None:
    draw(folder)
    write_list(tmp_path / "list.csv", header, row)
    for source in (tmp_path, tmp_path / "list.csv"):
        catalog = scan(source)
        assert totals(catalog) == {"cat": 4, "dog": 4}
        assert {problem.code for problem in catalog.problems} <= {"list_used", "list_label_column"}


def test_numbers_lose_their_leading_zeros_in_spreadsheets(tmp_path: Path, draw: Draw) -> None:
    draw("train", [f"{number:04d}" for number in range(1, 9)])
    (tmp_path / "labels.csv").write_text("id,label\n" + "".join(f"{n},{'ab'[n % 2]}\n" for n in range(1, 9)))
    assert totals(scan(tmp_path)) == {"a": 4, "b": 4}


def test_pictures_in_two_part_folders_are_one_set(tmp_path: Path, draw: Draw) -> None:
    draw("part_1", NAMES[::2])
    draw("part_2", NAMES[1::2])
    write_list(tmp_path / "metadata.csv", "image_id,dx")
    assert totals(scan(tmp_path / "metadata.csv")) == {"cat": 4, "dog": 4}


def test_a_name_in_two_folders_is_used_only_if_it_is_clear_which(tmp_path: Path, draw: Draw) -> None:
    draw("color")
    draw("grey", NAMES[:1])
    draw("masks", NAMES[1:2])
    write_list(tmp_path / "list.csv", "image_id,label")
    assert problems(scan(tmp_path / "list.csv"))["color"] == "list_folder", "the same file twice: either will do"
    (tmp_path / "grey" / f"{NAMES[0]}.png").write_bytes(drawn_images.png(9))
    catalog = scan(tmp_path / "list.csv")
    assert problems(catalog) == {"cat0": "list_ambiguous", "list.csv": "list_used", "color": "list_folder"}
    assert totals(catalog) == {"cat": 3, "dog": 4}


def test_a_missing_picture_is_not_replaced_by_one_of_another_folder(tmp_path: Path, draw: Draw) -> None:
    draw("cats", NAMES[:4])
    draw("dogs", NAMES[4:])
    rows = [f"cats/{name}.png,cat" for name in NAMES[:4]] + [f"dogs/{name}.png,dog" for name in (*NAMES[4:], "cat0")]
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *rows]))
    assert problems(scan(tmp_path / "list.csv")) == {"dogs/cat0.png": "missing"}


# --- several lists


@pytest.mark.parametrize("names", [("train.csv", "val.csv"), ("train_labels.csv", "validation-labels.csv")])
def test_a_list_for_each_split_is_read_as_such(tmp_path: Path, draw: Draw, names: tuple[str, str]) -> None:
    draw("images")
    write_list(tmp_path / names[0], "filename,label", "images/{name}.png,{label}", [*NAMES[:3], *NAMES[4:7]])
    write_list(tmp_path / names[1], "filename,label", "images/{name}.png,{label}", [NAMES[3], NAMES[7]])
    catalog = scan(tmp_path)
    assert catalog.layout == "list_split"
    assert per_split(catalog) == (6, 2, 0)
    assert problems(catalog) == dict.fromkeys(names, "list_is_split")


@pytest.mark.parametrize(
    ("name", "header", "row"),
    [
        ("metadata.csv", "file_name,label", "{name}.png,{label}"),
        ("_classes.csv", "filename, cat, dog", "{name}.png, {cat}, {dog}"),
        ("metadata.jsonl", "", '{{"file_name": "{name}.png", "label": "{label}"}}'),
    ],
)
def test_a_list_in_the_folder_of_each_split_is_read(
    tmp_path: Path, draw: Draw, name: str, header: str, row: str
) -> None:
    for split in ("train", "valid", "test"):
        draw(split)
        write_list(tmp_path / split / name, header, row)
    catalog = scan(tmp_path)
    assert per_split(catalog) == (8, 8, 8)
    assert not [problem for problem in catalog.problems if problem.code not in ("list_used", "list_is_split")]


def test_lists_of_a_competitions_test_do_not_count(tmp_path: Path, draw: Draw) -> None:
    draw("train")
    draw("test", ["test1", "test2"])
    write_list(tmp_path / "train.csv", "id,label")
    (tmp_path / "test.csv").write_text("id\ntest1\ntest2\n")
    (tmp_path / "sample_submission.csv").write_text("id,label\ntest1,cat\ntest2,cat\n")
    assert totals(scan(tmp_path)) == {"cat": 4, "dog": 4}


def test_numbered_images_labels_and_splits_in_files_of_their_own_are_joined(tmp_path: Path, draw: Draw) -> None:
    draw("images")
    for file, value in (
        ("images.txt", "{name}.png"),
        ("image_class_labels.txt", "{label}"),
        ("train_test_split.txt", "{train}"),
    ):
        lines = [
            f"{number} {value.format(name=name, label=1 + (name[0] == 'd'), train=int(name[-1] != '3'))}"
            for number, name in enumerate(NAMES, 1)
        ]
        (tmp_path / file).write_text("\n".join(lines))
    (tmp_path / "classes.txt").write_text("1 001.Cat\n2 002.Dog\n")
    catalog = scan(tmp_path)
    assert totals(catalog) == {"001.Cat": 4, "002.Dog": 4}
    assert len(catalog.splits["test"]) == 2


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.json", '[{{"file_name": "{0}.png", "label": ["cat"]}}, {{"file_name": "{4}.png", "label": ["dog"]}}]'),
        ("list.json", '{{"{0}.png": "cat", "{4}.png": "dog"}}'),
        ("labels.json", '{{"labels": [["{0}.png", "cat"], ["{4}.png", "dog"]]}}'),
        (
            "coco.json",
            '{{"images": [{{"id": 1, "file_name": "{0}.png"}}, {{"id": 2, "file_name": "{4}.png"}}], '
            '"annotations": [{{"image_id": 1, "category_id": 7}}, {{"image_id": 2, "category_id": 9}}], '
            '"categories": [{{"id": 7, "name": "cat"}}, {{"id": 9, "name": "dog"}}]}}',
        ),
        ("train.txt", "x/{0}.png cat\nx/{4}.png dog\n"),
        ("list.txt", "# image label\n{0} cat\n{4} dog\n"),
        ("list.txt", "2\nimage_name  category_label\n{0}.png    cat\n{4}.png  dog\n"),
        ("list.txt", "2\nlabel\n{0}.png    cat\n{4}.png  dog\n"),
        ("annotations.txt", "{0}.png\tcat\t0\t0\t9\t9\n{4}.png\tdog\t1\t1\t9\t9\n"),
        ("truth.csv", "{0}.png;cat\n{4}.png;dog\n"),
    ],
)
def test_text_and_json_files_are_lists_too(tmp_path: Path, draw: Draw, name: str, text: str) -> None:
    draw("x")
    (tmp_path / name).write_text(text.format(*NAMES))
    assert totals(scan(tmp_path)) == {"cat": 1, "dog": 1}


@pytest.mark.parametrize(
    ("files", "classes"),
    [
        ({"list.csv": "image,cat,dog\n{0},TRUE,FALSE\n{1},True,False\n{4},FALSE,TRUE\n"}, {"cat": 2, "dog": 1}),
        (
            {
                "list.csv": "image,label\n{0},0\n{4},1\n",
                "config.id2label.json": '{{"id2label": {{"0": "A", "1": "B"}}}}',
            },
            {"A": 1, "B": 1},
        ),
        ({"list.csv": "image,label\n{0},0\n{4},1\n", "id2label.json": '{{"A": 0, "B": 1}}'}, {"A": 1, "B": 1}),
        ({"utf-16-le.csv": "image,label\n{0},Käfer\n{4},dog\n"}, {"Käfer": 1, "dog": 1}),
        ({"utf-16-be.csv": "image,label\n{0},cat\n{4},dog\n"}, {"cat": 1, "dog": 1}),
        ({"train.txt": "{0}.png 1 1\n{1}.png 1 1\n{4}.png 2 1\n{5}.png 2 1\n"}, {"cat": 2, "dog": 2}),
        ({"list.json": '{{"cat": ["{0}.png", "{1}"], "dog": ["{4}.png"]}}'}, {"cat": 2, "dog": 1}),
        ({"x/metadata.jsonl": '{{"file_name": "{0}.png", "labels": "cat"}}\n'}, r"\(cat\)"),
        ({"x/metadata.csv": "file_name,label\n{0}.png,cat\n{4}.png,dog\n"}, {"cat": 1, "dog": 1}),
        ({"utf-32-le.csv": "image,label\n{0},cat\n{4},dog\n"}, {"cat": 1, "dog": 1}),
        ({"list.csv": "path|label\nx/{0}.png|cat\nx/{4}.png|dog\n"}, {"cat": 1, "dog": 1}),
        (
            {"list.json": '{{"foto": {{"0": "{0}.png", "1": "{4}.png"}}, "tier": {{"0": "cat", "1": "dog"}}}}'},
            {"cat": 1, "dog": 1},
        ),
        ({"list.json": '{{"{0}.png": {{"label": "cat"}}, "{4}.png": {{"label": "dog"}}}}'}, {"cat": 1, "dog": 1}),
        (
            {"list.json": '{{"path": "{0}.png", "label": "cat"}}\n{{"path": "{4}.png", "label": "dog"}}\n'},
            {"cat": 1, "dog": 1},
        ),
        (
            {"list.json": f"[{task('choices', '{0}', 'cat')}, {task('choices', 'ab12cd34-{4}', 'dog')}]"},
            {"cat": 1, "dog": 1},
        ),
        ({"list.json": f"[{task('rectanglelabels', '{0}', 'cat')}]"}, "marks objects of several categories"),
        ({"list.json": '{{"a": {{"b": [["{0}.png", 1, 2, 3], ["{4}.png", 1, 2, 3]]}}, "c": [1]}}'}, "names pictures"),
        ({"list.csv": ""}, "is empty"),
        ({"list.csv": "<!DOCTYPE html><html>"}, "a web page"),
        ({"train.json": "version https://git-lfs.github.com/spec/v1\noid sha256:aa"}, "Git LFS pointer"),
        ({"labels.csv.gz": "x"}, "is compressed"),
        ({"labels.xlsx": "x"}, "Excel.*CSV UTF-8"),
        ({"list.csv": "\1\2\3\4"}, "no text"),
        (
            {
                "coco.json": '{{"images": [{{"id": 1, "file_name": "{0}.png"}}], "annotations": [{{"image_id": 1, '
                '"category_id": 7}}, {{"image_id": 1, "category_id": 9}}], '
                '"categories": [{{"id": 7, "name": "cat"}}, {{"id": 9, "name": "dog"}}]}}'
            },
            "marks objects of several categories",
        ),
    ],
)
def test_what_exporters_write_is_read_or_refused_by_its_kind(
    tmp_path: Path, draw: Draw, files: dict[str, str], classes: dict[str, int] | str
) -> None:
    draw("x")
    for name, text in files.items():
        encoding = Path(name).stem if name.startswith("utf") else "utf-8"
        (tmp_path / name).write_bytes(text.format(*NAMES).encode(encoding))
    if isinstance(classes, str):
        with pytest.raises(DataError, match=classes):
            scan(tmp_path)
    else:
        assert totals(scan(tmp_path)) == classes


def test_numbers_are_spelt_out_by_a_file_of_names(tmp_path: Path, draw: Draw) -> None:
    draw("train_images")
    write_list(tmp_path / "train.csv", "image_id,label", "{name}.png,{cat}")
    (tmp_path / "label_num_to_disease_map.json").write_text('{"0": "Dog", "1": "Cat"}')
    catalog = scan(tmp_path)
    assert totals(catalog) == {"Cat": 4, "Dog": 4}
    assert "label_num_to_disease_map.json" in " ".join(problem.problem for problem in catalog.problems)


def test_a_list_sorts_the_validation_images_that_lie_in_no_class_folders(tmp_path: Path, draw: Draw) -> None:
    for folder in ("n01", "n02"):
        draw(f"train/{folder}/images", NAMES[:3])
    draw("val/images", NAMES)
    rows = [f"{name}.png\tn0{1 + (name[0] == 'd')}\t0\t0\t9\t9" for name in NAMES]
    (tmp_path / "val" / "val_annotations.txt").write_text("\n".join(rows))
    catalog = scan(tmp_path)
    assert catalog.classes == ("n01", "n02")
    assert per_split(catalog) == (6, 8, 0)


def test_numbers_in_a_list_of_test_images_are_the_numbered_class_folders(tmp_path: Path, draw: Draw) -> None:
    for folder in ("00000", "00001"):
        draw(f"Train/{folder}")
    draw("Test")
    (tmp_path / "Test.csv").write_text(
        "Width,ClassId,Path\n" + "".join(f"9,{n % 2},Test/{NAMES[n]}.png\n" for n in range(8))
    )
    catalog = scan(tmp_path)
    assert catalog.count_images()["00001"]["test"] == 4


@pytest.mark.parametrize(
    ("header", "row", "splits"),
    [
        ("path,label", "{split}/{name}.png,{label}", (6, 0, 2)),
        ("path,label,is_valid", "{name},{label},{held}", (6, 2, 0)),
        ("path,label,is_test", "{name},{label},{held}", (6, 0, 2)),
        ("path,label,is_val,is_test", "{name},{label},False,{held}", (6, 0, 2)),
        ("path,label,fold", "{name},{label},{held}", (8, 0, 0)),
    ],
)
def test_flags_and_paths_name_splits_and_folds_do_not(
    tmp_path: Path, draw: Draw, header: str, row: str, splits: tuple[int, ...]
) -> None:
    rows = []
    for name in NAMES:
        split = "test" if name[-1] == "3" else "train"
        draw(split, [name])
        rows.append(row.format(split=split, name=name, label=name[:3], held=split == "test"))
    (tmp_path / "list.csv").write_text("\n".join([header, *rows]))
    assert per_split(scan(tmp_path / "list.csv", val_share=0, test_share=0)) == splits


ENTRIES: dict[str, Callable[[list[tuple[str, str]]], object]] = {
    "objects": lambda pairs: [{"image": path, "label": label} for path, label in pairs],
    "rows with number and name": lambda pairs: [[path, len(label), label] for path, label in pairs],
    "labels by path": dict,
    "columns": lambda pairs: dict(zip(("image", "label"), map(list, zip(*pairs, strict=True)), strict=True)),
    "paths by label": lambda pairs: {label: [path for path, name in pairs if name == label] for _, label in pairs},
}


@pytest.mark.parametrize("kind", ENTRIES)
def test_a_json_file_sorts_its_entries_into_splits(tmp_path: Path, draw: Draw, kind: str) -> None:
    draw("x")
    numbers = {"train": "01", "val": "2", "test": "3"}
    pairs = {split: [(f"x/{name}.png", name[:3]) for name in NAMES if name[-1] in numbers[split]] for split in numbers}
    content = {split: ENTRIES[kind](pairs[split]) for split in numbers}
    (tmp_path / "split_pets.json").write_text(json.dumps({"info": {"year": 1}, **content}))
    catalog = scan(tmp_path)
    assert per_split(catalog) == (4, 2, 2)
    assert totals(catalog) == {"cat": 4, "dog": 4}


def test_a_column_of_partitions_or_folds_is_no_label(tmp_path: Path, draw: Draw) -> None:
    draw("images")
    write_list(tmp_path / "partition.csv", "image_id,partition", "{name},{cat}")
    with pytest.raises(DataError, match="no column of labels"):
        scan(tmp_path)


def test_attributes_beside_numbers_that_nobody_names_are_refused_with_what_to_do(tmp_path: Path, draw: Draw) -> None:
    draw("images")
    rows = [f"{name}.png {2 * (index % 2) - 1}  1 {1 - 2 * (index % 3 == 0)}" for index, name in enumerate(NAMES)]
    attributes = "\n".join([str(len(rows)), "Bald Male Young ", *rows])
    (tmp_path / "list_attr.txt").write_text(attributes)
    write_list(tmp_path / "identity.txt", "", "{name}.png {cat}")
    write_list(tmp_path / "list_eval_partition.txt", "", "{name}.png {dog}")
    with pytest.raises(DataError, match=r"list_attr\.txt, identity\.txt\. .*Bald, Male, Young.*one column to recogn"):
        scan(tmp_path)
    assert totals(scan(tmp_path / "identity.txt")) == {"cat": 4, "dog": 4}
    with pytest.raises(DataError, match="no column of labels"):
        scan(tmp_path / "list_eval_partition.txt")
    (tmp_path / "list_attr.txt").write_text(attributes.replace("Bald", "label"))
    (tmp_path / "identity.txt").unlink()
    assert totals(scan(tmp_path)) == {"-1": 4, "1": 4}, "one column is named as the labels"


def test_lists_of_names_split_class_folders(tmp_path: Path, draw: Draw) -> None:
    draw("images/cat", [f"{number}" for number in range(4)])
    draw("images/dog", [f"{number}" for number in range(4)])
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "train.txt").write_text("cat/0\ncat/1\ndog/0\ndog/1\n")
    (tmp_path / "meta" / "test.txt").write_text("cat/1\ncat/2\ndog/2\n")
    catalog = scan(tmp_path, val_share=0)
    assert per_split(catalog) == (3, 0, 3)
    assert {problem.code: problem.values["count"] for problem in catalog.problems if "count" in problem.values} == {
        "split_lists_overlap": 1,
        "split_lists_missing": 2,
    }
    assert per_split(scan(tmp_path, layout="classes", val_share=0, test_share=0)) == (8, 0, 0)


# --- lists that are not used


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("image,width,height,author\n{0}.png,3,4,me\n{1}.png,3,5,me\n", "no column of labels"),
        ("when,what,label\n1,2,cat\n", "no column of paths"),
        ("image,labels\n{0},cat|dog\n{1},dog\n{2},cat|dog\n", "several labels"),
        ("image,a,b\n{0},1,1\n{1},0,1\n{2},1,1\n", "several labels"),
        ("image,a,b,c,d,e\n{0},1,1,0,0,0\n{1},0,1,1,0,0\n{2},1,1,0,0,1\n", "(a, b, c, d … (5)), so it is not used"),
        ("{0}.png,1,2,3\n{1}.png,2,3,4\n", "no line that names them"),
        ("image,caption,author\n{0},one,x\n{1},two,y\n", "no column of labels"),
    ],
)
def test_a_list_that_cannot_be_used_is_named_with_the_reason(
    tmp_path: Path, draw: Draw, text: str, reason: str
) -> None:
    draw("images")
    (tmp_path / "table.csv").write_text(text.format(*NAMES))
    with pytest.raises(DataError, match=r"table\.csv") as caught:
        scan(tmp_path)
    assert reason in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_few_rows_with_several_labels_are_named_and_left_out(tmp_path: Path, draw: Draw) -> None:
    names = [f"cat{number}" for number in range(30)] + [f"dog{number}" for number in range(30)]
    draw("x", names)
    rows = [f"{name},{name[:3]}" for name in names[1:]]
    (tmp_path / "list.csv").write_text("\n".join(["image,label", *rows, f"{names[0]},cat;dog"]))
    catalog = scan(tmp_path / "list.csv")
    assert problems(catalog) == {names[0]: "list_several_labels"}
    assert totals(catalog) == {"cat": 29, "dog": 30}
