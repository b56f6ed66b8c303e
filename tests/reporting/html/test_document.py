"""Reports and tables: complete, escaped, and alone in the world."""

from __future__ import annotations

import csv
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from ftlab.core.errors import ConfigError
from ftlab.evaluation import csv_tables
from ftlab.evaluation.evaluate import Evaluation
from ftlab.reporting.html import confusion_matrix, document, files, parts
from tests.support import known_evaluations
from tests.support.hostile_text import EVIL

CLASSES = ("ant", EVIL, "bee")


@pytest.fixture
def found(tmp_path: Path) -> Evaluation:
    answers = [(0, 0, 0.9), (0, 1, 0.8), (1, 1, 0.7), (2, 2, 0.99), (2, 0, 0.55)]
    names = ["a/0.png", "a/1.png", "b/2.png", "c/3.png", "c/<gone>.png"]
    for name in names[:4]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (20, 16), "teal").save(tmp_path / name)
    outcome = known_evaluations.told(answers, CLASSES, root=tmp_path, paths=names)
    return known_evaluations.inspection(
        known_evaluations.skipped(outcome, "a/<bad>.png"), temperature=1.5, threshold=0.6
    )


class Addresses(HTMLParser):
    """All that a document would fetch, and the elements that it has."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.found += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        assert not [name for name, _ in attrs if name.startswith("on")]


def rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def test_a_report_asks_nothing_of_anybody_and_runs_nothing(found: Evaluation) -> None:
    made = document.render_document(found, "A model", "a-run")
    page = Addresses()
    page.feed(made)
    assert page.found
    assert all(address.startswith("data:image/") for address in page.found)
    assert not {"script", "link", "iframe", "object", "form"} & set(page.tags)
    assert "url(" not in made
    assert "@import" not in made


def test_a_report_tells_the_figures_and_shows_the_pictures(found: Evaluation) -> None:
    made = document.render_document(found, "A model", "a-run")
    said = re.sub(r"\s+", " ", re.sub(r"<style>.*?</style>|<[^>]*>", " ", made))
    for part in ("Evaluation of A model", "Run a-run", "60.0 %", "95 % interval: 23.1 % to 88.2 %", "20 points"):
        assert part in said
    assert "Pictures that could not be read, and are not counted: 1" in said
    assert "With temperature 1.50" in said
    assert made.count("<img") == 4 + 4, "each picture that is there, among mistakes or hits, and at random"


def test_names_are_escaped(found: Evaluation) -> None:
    made = document.render_document(found, EVIL, EVIL)
    assert "<img src=x" not in made
    assert "&lt;img src=x" in made
    assert "<gone>" not in made
    assert "<bad>" not in made


def test_a_report_tells_no_path_above_the_folder_of_pictures(found: Evaluation, tmp_path: Path) -> None:
    assert str(tmp_path) not in document.render_document(found, "A model", "a-run")


def test_the_pictures_table_has_a_line_each(found: Evaluation) -> None:
    head, *told = rows(csv_tables.format_image_table(found))
    assert head[:7] == ["path", "true", "predicted", "right", "none_of_these", "class_1", "probability_1"]
    assert [line[:4] for line in told] == [
        ["a/0.png", "ant", "ant", "yes"],
        ["a/1.png", "ant", EVIL, "no"],
        ["b/2.png", EVIL, EVIL, "yes"],
        ["c/3.png", "bee", "bee", "yes"],
        ["c/<gone>.png", "bee", "ant", "no"],
    ]
    assert {len(line) for line in told} == {5 + 2 * 3}
    for line, index in zip(told, range(5), strict=True):
        assert float(line[6]) == pytest.approx(found.probabilities[index].max(), abs=1e-6)
        assert line[4] == ("yes" if float(line[6]) < 0.6 else "no")
        assert sum(map(float, line[6::2])) == pytest.approx(1, abs=1e-5)
    assert "yes" in {line[4] for line in told}


def test_the_tables_of_classes_and_confusions(found: Evaluation) -> None:
    assert rows(csv_tables.format_class_table(found))[1] == ["ant", "2", "2", "0.500000", "0.500000", "0.500000"]
    assert rows(csv_tables.format_confusion_table(found)) == [
        ["true", *CLASSES],
        ["ant", "1", "1", "0"],
        [EVIL, "0", "1", "0"],
        ["bee", "1", "0", "1"],
    ]


def test_all_files_are_written_and_open(found: Evaluation, tmp_path: Path) -> None:
    written = files.write_report_files(tmp_path / "out" / "deep", found, "A model", "a-run", {})
    assert [one.name for one in written] == list(files.REPORT_FILENAMES)
    for file in written:
        if file.suffix == ".png":
            with Image.open(file) as picture:
                picture.load()
        else:
            assert file.read_text(encoding="utf-8-sig")
    (tmp_path / "taken").write_text("x")
    with pytest.raises(ConfigError) as caught:
        files.write_report_files(tmp_path / "taken", found, "A model", "a-run", {})
    assert caught.value.code == "config.out"


def test_classes_are_listed_the_least_known_first_and_what_is_undefined_is_no_zero() -> None:
    found = known_evaluations.inspection(known_evaluations.told([(0, 0, 0.9), (0, 1, 0.9), (1, 1, 0.9), (1, 1, 0.9)]))
    said = re.findall(r'scope="row"[^>]*><bdi>(.*?)</bdi>', parts.render_class_table(found, str))
    assert said == ["amber", "blue", "green"]
    assert parts.render_class_table(found, str).count("–") == 3


def test_each_confusion_can_be_pressed_and_says_what_it_is(found: Evaluation) -> None:
    made = confusion_matrix.render_confusion_matrix(found, str, pressable=True)
    assert re.findall(r'data-true="(\d)" data-predicted="(\d)"', made) == [
        ("0", "0"),
        ("0", "1"),
        ("1", "1"),
        ("2", "0"),
        ("2", "2"),
    ]
    assert 'aria-label="bee: 1 predicted as ant"' in made


def test_of_too_many_classes_the_matrix_says_which_it_shows() -> None:
    classes = tuple(f"c{number}" for number in range(120))
    found = known_evaluations.inspection(known_evaluations.told([(one, one, 0.9) for one in range(120)], classes))
    made = confusion_matrix.render_confusion_matrix(found, str)
    assert made.count('scope="row"') == confusion_matrix.MAX_MATRIX_CLASSES
    assert "The 100 classes with the most mistakes, of 120" in made
