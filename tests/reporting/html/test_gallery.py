"""The page of a folder of overlays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ftlab.core.errors import ConfigError
from ftlab.reporting.html import gallery
from ftlab.reporting.html.gallery import GalleryImage

HOSTILE = "</script><script>alert(1)</script>"


def make_image(folder: Path, name: str, *, truth: str = "", is_mistake: bool = False) -> GalleryImage:
    scores = (("ants", 0.75), ("bees", 0.25))
    return GalleryImage(
        folder / "out" / f"{name}-ants.jpg", (40, 30), folder / f"{name}.jpg", "ants", scores, truth, is_mistake
    )


def read_records(page: str) -> list[dict[str, Any]]:
    records = page.split('id="pictures">')[1].split("</script>")[0]
    return json.loads(records)  # type: ignore[no-any-return]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path


def test_it_lists_the_images_in_their_order_with_links_beside_the_page(folder: Path) -> None:
    images = [make_image(folder, "b"), make_image(folder, "a b#1?")]
    path = gallery.write_gallery(folder / "out", images, "Model", "run-1")
    assert path == folder / "out" / "index.html"
    first, second = read_records(page := path.read_text(encoding="utf-8"))
    assert (first["overlay"], first["source"]) == ("b-ants.jpg", "../b.jpg")
    assert (second["overlay"], second["source"]) == ("a%20b%231%3F-ants.jpg", "../a%20b%231%3F.jpg")
    assert second["file"] == "a b#1?.jpg"
    assert first["scores"] == [["ants", 0.75], ["bees", 0.25]]
    assert "Heat maps of 2 pictures" in page
    assert "Model · Run run-1" in page
    assert str(folder) not in page  # no folder of this machine


def test_mistakes_are_counted_and_come_first_only_where_classes_are_known(folder: Path) -> None:
    unlabelled = gallery.write_gallery(folder / "out", [make_image(folder, "a")], "Model", "").read_text("utf-8")
    assert "Mistakes first" not in unlabelled
    images = [make_image(folder, "a", truth="ants"), make_image(folder, "b", truth="bees", is_mistake=True)]
    labelled = gallery.write_gallery(folder / "out", [*images, make_image(folder, "c")], "Model", "").read_text("utf-8")
    assert "1 of 2 predicted wrong" in labelled
    assert labelled.index("Mistakes first") < labelled.index("Least sure first")


def test_no_name_becomes_html_or_a_script(folder: Path) -> None:
    overlay = folder / "out" / "x.jpg"
    image = GalleryImage(overlay, (4, 3), folder / "javascript:x.jpg", HOSTILE, ((HOSTILE, 1.0),), "\u202eants", True)
    page = gallery.write_gallery(folder / "out", [image], f"{HOSTILE} model", HOSTILE).read_text("utf-8")
    assert "<script>alert" not in page
    (record,) = read_records(page)
    assert record["explained"] == HOSTILE
    assert record["truth"] == "\\u202eants"
    assert record["source"] == "../javascript%3Ax.jpg"


def test_a_name_that_is_no_utf8_has_a_link(folder: Path) -> None:
    image = GalleryImage(folder / "out" / "x.jpg", (4, 3), folder / "f\udcff.jpg", "ants", (("ants", 1.0),))
    (record,) = read_records(gallery.write_gallery(folder / "out", [image], "M", "").read_text("utf-8"))
    assert (record["source"], record["file"]) == ("../f%FF.jpg", "f\\udcff.jpg")


def test_a_page_that_cannot_be_written_is_told_in_one_line(folder: Path) -> None:
    (folder / "out" / "index.html").mkdir()
    with pytest.raises(ConfigError, match=r"index\.html"):
        gallery.write_gallery(folder / "out", [make_image(folder, "a")], "Model", "")
