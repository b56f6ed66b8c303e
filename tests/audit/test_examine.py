"""The doctor: what it finds, what it lets pass, and what it keeps."""

from __future__ import annotations

import base64
import io
import json
import random
import shutil
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.planted import make_blank_jpeg, plant_faults, reencode_image
from ftlab.audit import duplicates, embedding_map, embeddings, examine, findings, image_quality, label_errors
from ftlab.audit.embeddings import DatasetMeasurements, FileMeasurement
from ftlab.audit.findings import AuditReport
from ftlab.cli import main
from ftlab.config import backbones
from ftlab.data.dataset import scan
from ftlab.data.dataset.catalog import ImageItem
from ftlab.data.images import decode
from ftlab.data.transforms import preprocess
from ftlab.runs.jobs import audit_job
from tests.support import drawn_images

pytestmark = pytest.mark.usefixtures("one_thread_for_all")

PREP = preprocess.from_spec(backbones.get_backbone_spec(backbones.DEFAULT_BACKBONE))


def scene(seed: int, width: int = 200, height: int = 150) -> np.ndarray:
    """A picture of coarse and fine structure, uint8 [height, width, 3]."""
    dice = np.random.default_rng(seed)
    coarse = cv2.resize(dice.uniform(0, 255, (5, 6, 3)), (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(coarse + dice.normal(0, 20, (height, width, 3)), 0, 255).astype(np.uint8)


def measured(*pictures: np.ndarray, vectors: torch.Tensor | None = None) -> DatasetMeasurements:
    """What would be measured of these pixels."""
    facts = [
        FileMeasurement(
            0,
            0,
            f"{i}",
            f"{i}",
            one.shape[1],
            one.shape[0],
            embeddings.measure_blur(cv2.cvtColor(one, cv2.COLOR_RGB2GRAY)),
        )
        for i, one in enumerate(pictures)
    ]
    small = np.stack([cv2.resize(one, (32, 32), interpolation=cv2.INTER_AREA) for one in pictures]).astype(np.uint8)
    items = [("train", ImageItem(f"{i}.jpg", 0)) for i in range(len(pictures))]
    return DatasetMeasurements(
        items, facts, small, torch.ones(len(pictures), 4).half() if vectors is None else vectors, []
    )


def every(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.intp)


def examined(folder: Path) -> AuditReport:
    *_, report = examine.audit_dataset(scan.scan(folder))
    assert isinstance(report, AuditReport)
    return report


# --- copies


@pytest.mark.parametrize("quality_of_copy", [40, 90])
@pytest.mark.parametrize("share", [0.3, 0.8, 1.5])
def test_a_picture_saved_anew_is_a_near_copy(tmp_path: Path, share: float, quality_of_copy: int) -> None:
    Image.fromarray(scene(1)).save(tmp_path / "a.png")
    reencode_image(tmp_path / "a.png", tmp_path / "b.jpg", scale=share, quality=quality_of_copy)
    found = measured(scene(0), scene(1), decode.read_image(tmp_path / "b.jpg"), scene(2))
    assert duplicates.find_near_duplicates(found, every(4)) == [[1, 2]]


def test_drawings_on_the_same_ground_are_no_copies() -> None:
    def drawn(x: int, y: int) -> np.ndarray:
        page = np.full((120, 120, 3), 255, np.uint8)
        cv2.circle(page, (x, y), 22, (20, 60, 160), -1)
        return page

    pages = [drawn(x, y) for x in (30, 45, 60, 75, 90) for y in (30, 45, 60, 75, 90)]
    assert duplicates.find_near_duplicates(measured(*pages), every(25)) == []


def test_pictures_that_the_backbone_tells_apart_are_no_near_copies() -> None:
    vectors = torch.eye(2).half()
    assert duplicates.find_near_duplicates(measured(scene(1), scene(1), vectors=vectors), every(2)) == []


def test_unrelated_pictures_differ_in_about_half_of_the_hash() -> None:
    codes = duplicates.compute_hashes(measured(*map(scene, range(40))).thumbnails)
    distance = np.bitwise_count(codes[:, None] ^ codes[None])[np.triu_indices(40, 1)]
    assert 28 < distance.mean() < 36
    assert distance.min() > duplicates.MAX_HASH_DISTANCE_BITS


# --- quality


def test_a_picture_of_one_colour_is_blank_whatever_its_grain() -> None:
    dice = random.Random(0)
    blank = [np.asarray(Image.open(io.BytesIO(make_blank_jpeg(dice)))) for _ in range(6)]
    dark = (scene(3) // 6).astype(np.uint8)
    assert image_quality.find_blank(measured(*blank, scene(1), dark)).tolist() == [True] * 6 + [False] * 2


def test_blur_grows_with_blur_and_not_with_size_or_light() -> None:
    grey = cv2.cvtColor(scene(5, 400, 300), cv2.COLOR_RGB2GRAY)
    found = [
        embeddings.measure_blur(cv2.GaussianBlur(grey, (0, 0), sigma) if sigma else grey) for sigma in (0, 1, 3, 6)
    ]
    assert found == sorted(found)
    assert found[0] < 0.3 < 0.7 < found[-1]
    assert embeddings.measure_blur(grey // 3) == pytest.approx(found[0], abs=0.02)
    assert embeddings.measure_blur(grey[:150, :200]) == pytest.approx(found[0], abs=0.02)
    assert embeddings.measure_blur(np.zeros((20, 20), np.uint8)) == 1.0


def test_a_blurred_picture_is_found_among_sharp_ones() -> None:
    blurred = cv2.GaussianBlur(scene(50), (0, 0), 5)
    found = measured(*map(scene, range(30)), blurred.astype(np.uint8))
    assert np.nonzero(image_quality.find_blurred(found, np.ones(31, bool)))[0].tolist() == [30]


def test_tiny_and_odd_pictures_are_found_among_others_but_not_in_a_set_of_such() -> None:
    usual, tiny, strip = scene(1, 400, 300), scene(2, 40, 30), scene(3, 500, 100)
    mixed = measured(usual, usual, usual, tiny, strip)
    assert image_quality.find_tiny(mixed, PREP)[0].tolist() == [False, False, False, True, False]
    assert image_quality.find_odd_shaped(mixed)[0].tolist() == [False, False, False, False, True]
    assert not image_quality.find_tiny(mixed, PREP)[1]
    assert (
        image_quality.find_tiny(measured(tiny, tiny, tiny), PREP)[0].any().item(),
        image_quality.find_tiny(measured(tiny), PREP)[1],
    ) == (
        False,
        True,
    )
    assert (
        image_quality.find_odd_shaped(measured(strip, strip))[0].any().item(),
        image_quality.find_odd_shaped(measured(strip))[1],
    ) == (False, True)


# --- labels and outsiders


def clouds(count: int, classes: int = 3, spread: float = 0.25) -> tuple[torch.Tensor, torch.Tensor]:
    dice = torch.Generator().manual_seed(0)
    middles = torch.randn(classes, 40, generator=dice)
    own = torch.arange(count) % classes
    return middles[own] + spread * torch.randn(count, 40, generator=dice), own


def suspects(
    vectors: torch.Tensor, own: torch.Tensor, groups: np.ndarray | None = None
) -> list[label_errors.LabelIssue]:
    *_, found = label_errors.find_label_errors(vectors, own, every(len(own)) if groups is None else groups)
    assert isinstance(found, list)
    return found


def test_wrong_labels_are_found_with_the_right_ones() -> None:
    vectors, own = clouds(150)
    wrong = own.clone()
    for index in (3, 50, 77, 120):
        wrong[index] = (own[index] + 1) % 3
    found = suspects(vectors, wrong)
    named = {one.index: one.suggested_label for one in found}
    assert named.items() <= {index: int(own[index]) for index in (3, 50, 77, 120)}.items()
    assert len(named) >= 3
    assert all(one.label_probability < 0.1 < 0.9 < one.suggested_probability for one in found)


def test_right_labels_are_not_suspected() -> None:
    assert suspects(*clouds(150)) == []


def test_a_class_with_few_pictures_is_not_judged() -> None:
    vectors, own = clouds(60, 2)
    lone = own.clone()
    lone[[0, 2, 4, 6]] = 2
    assert suspects(vectors, lone) == []
    assert suspects(vectors[:6], own[:6]) == []


def test_a_copy_does_not_vouch_for_a_wrong_label() -> None:
    vectors, own = clouds(60, 2, spread=1.5)
    many = torch.cat([vectors, vectors[:1].repeat(9, 1)])
    wrong = torch.cat([own, (1 - own[:1]).repeat(9)])
    wrong[0] = 1 - own[0]
    groups = np.concatenate([every(60), np.zeros(9, np.intp)])
    apart = {one.index for one in suspects(many, wrong, groups)}
    together = {one.index for one in suspects(many, wrong)}
    assert apart >= {0, *range(60, 69)}
    assert not together & {0, *range(60, 69)}


def test_the_confident_class_is_that_of_the_paper() -> None:
    # The means of the own class are 0.75 and 0.6. Row 2 reaches neither class's; row 3 reaches that of class 0.
    found = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.5, 0.5], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8]])
    said = label_errors.suggest_labels(found, torch.tensor([0, 0, 1, 1, 1, 1]))
    assert said.tolist() == [0, 0, 1, 0, 1, 1]


def test_a_picture_unlike_all_others_is_an_outsider() -> None:
    vectors, _ = clouds(100)
    vectors[41] = torch.randn(40, generator=torch.Generator().manual_seed(9))
    assert [index for index, _ in label_errors.find_outliers(vectors)] == [41]
    assert label_errors.find_outliers(clouds(100)[0]) == []
    assert label_errors.find_outliers(vectors[:10]) == []


# --- map


def test_the_map_lays_alike_pictures_together_and_is_always_the_same() -> None:
    vectors, own = clouds(90)
    places = embedding_map.run_tsne(vectors)
    near = torch.cdist(places, places).fill_diagonal_(torch.inf).argmin(1)
    assert (own[near] == own).float().mean() > 0.95
    assert torch.equal(places, embedding_map.run_tsne(vectors))


@pytest.mark.parametrize("vectors", [torch.ones(12, 6), torch.zeros(12, 6)])
def test_pictures_that_are_all_alike_have_a_map_too(vectors: torch.Tensor) -> None:
    assert embedding_map.run_tsne(vectors).isfinite().all()


def test_each_point_of_the_map_has_its_thumbnail_and_a_file_that_is_gone_a_grey_one(tmp_path: Path) -> None:
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)] * 4
    files = [tmp_path / f"{number}.png" for number in range(12)]
    for file, colour in zip(files, colours, strict=True):
        Image.new("RGB", (90, 70), colour).save(file)
    files[5].unlink()
    shown = [findings.ImageRef(file.name, "x", "train") for file in files]
    drawn = embedding_map.build_embedding_map(files, shown, torch.randn(12, 8))
    assert drawn is not None
    assert embedding_map.build_embedding_map(files[:7], shown[:7], torch.randn(7, 8)) is None
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(drawn.sheet))))
    for point, colour in zip(drawn.points, colours, strict=True):
        row, column = divmod(point.at, drawn.columns)
        middle = sheet[row * drawn.side + 32, column * drawn.side + 32].astype(int)
        assert np.abs(middle - (128 if point.at == 5 else np.array(colour))).max() < 16
        assert 0 <= point.x <= 1
        assert 0 <= point.y <= 1


# --- the whole


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of scenes with a copy, a copy saved anew, a blank picture and a damaged one. Whoever changes the
    folder puts it back."""
    folder = drawn_images.tiny(tmp_path_factory.mktemp("pictures") / "tiny")
    for at, name in enumerate(("amber", "blue", "green")):
        for index, file in enumerate(sorted((folder / name).iterdir())):
            Image.fromarray(scene(100 * at + index)).save(file)
    shutil.copy(folder / "amber" / "amber_1.jpg", folder / "blue" / "copy.jpg")
    with Image.open(folder / "green" / "green_0.png") as image:
        image.save(folder / "green" / "same.bmp")
    reencode_image(folder / "green" / "green_2.jpg", folder / "green" / "again.jpg", scale=0.6, quality=70)
    (folder / "blue" / "blank.jpg").write_bytes(make_blank_jpeg(random.Random(1)))
    (folder / "blue" / "cut.jpg").write_bytes((folder / "blue" / "blue_1.jpg").read_bytes()[:900])
    return folder


@pytest.fixture(scope="module")
def first_audit(faulty: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[AuditReport, Path]:
    """The report of an audit, and what `FTLAB_HOME` then holds."""
    home = tmp_path_factory.mktemp("audited") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FTLAB_HOME", str(home))
        return examined(faulty), home


@pytest.fixture
def report(first_audit: tuple[AuditReport, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AuditReport:
    """The report of an audit that took place before the test."""
    found, home = first_audit
    monkeypatch.setenv("FTLAB_HOME", str(shutil.copytree(home, tmp_path / "home")))
    return found


def test_everything_planted_is_found_and_nothing_else(report: AuditReport) -> None:
    def groups(kind: str) -> list[set[str]]:
        return [{Path(one.path).name for one in each.pictures} for each in report.findings_of_kind(kind)]

    assert sorted(map(sorted, groups("exact"))) == [["amber_1.jpg", "copy.jpg"], ["green_0.png", "same.bmp"]]
    assert groups("near") == [{"again.jpg", "green_2.jpg"}]
    assert groups("blank") == [{"blank.jpg"}]
    assert {one.values["name"] for one in report.findings_of_kind("imbalance")} == {"amber", "blue", "green"}
    assert report.looked == 28
    two = next(one for one in report.findings_of_kind("exact") if one.values["classes"] == 2)
    assert two.leave == (two.pictures[1].path,)
    assert report.map is not None
    assert len(report.map.points) == 28


def test_there_is_no_report_before_the_first_audit(faulty: Path) -> None:
    assert findings.load_report(scan.scan(faulty)) is None


def test_the_report_is_there_at_once_the_second_time(faulty: Path, report: AuditReport) -> None:
    assert findings.load_report(scan.scan(faulty)) == report
    assert findings.load_report(scan.scan(faulty, val_share=0.4)) is None


@pytest.mark.usefixtures("report")
def test_only_new_files_are_measured_again(faulty: Path) -> None:
    new = faulty / "amber" / "new.jpg"
    new.write_bytes((faulty / "amber" / "amber_2.jpg").read_bytes())
    try:
        first = next(iter(examine.audit_dataset(scan.scan(faulty))))
    finally:
        new.unlink()
    assert isinstance(first, examine.AuditProgress)
    assert (first.done, first.total) == (28, 29)


@pytest.mark.usefixtures("report")
def test_what_is_kept_of_pictures_that_are_gone_is_removed(faulty: Path, tmp_path: Path) -> None:
    found = scan.scan(faulty)
    assert findings.get_report_folder(found).is_dir()
    faulty.rename(tmp_path / "elsewhere")
    try:
        findings.remove_orphaned_reports()
    finally:
        (tmp_path / "elsewhere").rename(faulty)
    assert not findings.get_report_folder(found).exists()


@pytest.mark.usefixtures("report")
@pytest.mark.parametrize("damage", [b"", b"{}", b'{"version": 1}', b"\xff"])
def test_a_damaged_report_is_none(faulty: Path, damage: bytes) -> None:
    found = scan.scan(faulty)
    assert findings.load_report(found) is not None
    next(findings.get_report_folder(found).glob("*.json")).write_bytes(damage)
    assert findings.load_report(found) is None


@pytest.mark.usefixtures("report")
def test_of_too_many_pictures_some_are_looked_at_and_it_is_said(faulty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examine, "MAX_AUDITED_IMAGES", 12)
    some = examined(faulty)
    assert (some.looked, some.left) == (12, 16)


@pytest.mark.usefixtures("report")
def test_scan_deep_prints_what_was_found(faulty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["scan", str(faulty), "--deep", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    kinds = {one["kind"] for one in told["doctor"]["findings"]}
    assert {"exact", "near", "blank"} <= kinds
    assert main.main(["scan", str(faulty), "--deep"]) == 0
    said = capsys.readouterr().out
    assert "Exact duplicates: 2" in said
    assert "blue/copy.jpg" in said


def test_another_process_examines_and_tells_how_far_it_is(faulty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    stages = [told["stage"] for told in audit_job.run_audit(faulty, []) if told]
    assert stages[-1] in ("pictures", "labels", "map")
    assert findings.load_report(scan.scan(faulty)) is not None


def test_whoever_closes_the_iterator_ends_the_process(faulty: Path) -> None:
    work = audit_job.run_audit(faulty, [])
    next(work)
    before = threading.active_count()
    work.close()  # type: ignore[attr-defined]
    assert threading.active_count() <= before
    assert findings.load_report(scan.scan(faulty)) is None


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `set` and `home` may stand: a photograph that is measured for one seed need not be for the other."""
    return tmp_path_factory.mktemp("photographs")


@pytest.mark.parametrize("seed", [0, 1])
def test_planted_faults_are_found_among_ants_and_bees(
    shared_data: Path, place: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FTLAB_HOME", str(place / "home"))
    planted = plant_faults(shared_data / "data" / "hymenoptera", place / "set", seed)
    report = examined(place / "set")
    shutil.rmtree(place / "set")

    def found(kind: str) -> list[frozenset[str]]:
        return [frozenset(one.path for one in each.pictures) for each in report.findings_of_kind(kind)]

    for kind, pairs in (("exact", planted.exact_copies), ("near", planted.near_copies)):
        there = {frozenset(pair) for pair in pairs.items()}
        assert there <= set(found(kind))
        assert len(set(found(kind)) - there) <= 10
        assert all(one.crosses_splits for one in report.findings_of_kind(kind))
    named = {path for one in found("label") for path in one}
    assert len(named & planted.swapped_images) >= 8
    assert len(named - planted.swapped_images) <= 10
    assert {path for one in found("blank") for path in one} == planted.blank_images
    assert any("imageNotFound.gif" in path for one in found("outsider") for path in one)
    for kind in ("outsider", "tiny", "blurry", "odd"):
        assert len(found(kind)) <= 11
