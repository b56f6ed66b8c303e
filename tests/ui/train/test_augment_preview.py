"""The preview on the Train tab: what it shows, what it says in place of that."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from ftlab.config.train_config import TrainConfig
from ftlab.data import preview
from ftlab.data.dataset import scan
from ftlab.server.profile import ServerProfile
from ftlab.ui.common import data_choice
from ftlab.ui.train import augment_preview, form
from ftlab.ui.train.actions import TrainActions

pytestmark = pytest.mark.usefixtures("one_thread")

DATA = ["folder", "pictures", 0.15, 0.15]
"""What the Dataset tab's components say of the folder of the tests."""


@pytest.fixture
def desk(tmp_path: Path, tiny_folder: Path) -> TrainActions:
    """A local start whose data root holds `pictures`, which were looked at."""
    tiny_folder.rename(tmp_path / "pictures")
    desk = TrainActions(ServerProfile(tmp_path, tmp_path / "runs"))
    data_choice.scan_source(desk.parse_source(DATA))
    return desk


@pytest.fixture
def widgets() -> form.ConfigForm:
    with gr.Blocks():
        return form.build_form()


def sheet(
    desk: TrainActions, widgets: form.ConfigForm, number: str = "0", data: list[Any] = DATA, **changed: object
) -> str:
    fields = form.get_field_values(TrainConfig()) | changed
    return augment_preview.render_preview(desk, widgets, number, [*data, *fields.values(), None])


def pictures_of(html: str) -> list[np.ndarray[Any, Any]]:
    codes = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', html)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(code)))) for code in codes]


def test_nine_epochs_stand_beside_the_evaluation_crop(desk: TrainActions, widgets: form.ConfigForm) -> None:
    html = sheet(desk, widgets, mode="full", augment="crop", rotate=30.0)
    shown = pictures_of(html)
    assert [picture.shape for picture in shown] == [(224, 224, 3)] * 10
    settings = TrainConfig(mode="full", rotate=30.0)
    made = preview.make_preview(scan.scan(desk.profile.data_root / "pictures"), settings, 0)  # type: ignore[operator]
    for one, exact in zip(shown, (made.eval_image, *made.epoch_images), strict=True):
        assert np.abs(one.astype(int) - exact).mean() < 4  # but for what JPEG loses
    names = re.findall(r"<figcaption>([^<]+)</figcaption>", html)
    assert names == ["Validation and prediction", *(f"Epoch {number}" for number in range(1, 10))]
    assert f"{made.item.path}" in html
    assert "Each epoch augments it anew. 224 × 224 pixels." in html


def test_a_last_phase_that_augments_anew_is_told(desk: TrainActions, widgets: form.ConfigForm) -> None:
    phases: dict[str, Any] = {
        "unfreeze_from": "auto",
        "activations": "cached",
        "unfreeze_epoch": 2,
        "unfreeze_all_epoch": 5,
    }
    html = sheet(desk, widgets, mode="full", epochs=9, **phases)
    assert "each epoch uses one of them" in html
    assert "From epoch 6 on, each epoch augments it anew." in html


@pytest.mark.parametrize(
    ("changed", "said"),
    [({}, "sees 2 views"), ({"augment": "none"}, "are not augmented"), ({"image_size": "64"}, "64 × 64 pixels")],
)
def test_it_says_where_the_variants_come_from(
    desk: TrainActions, widgets: form.ConfigForm, changed: dict[str, Any], said: str
) -> None:
    assert said in sheet(desk, widgets, **changed)


def test_a_large_side_is_made_smaller_for_the_page(desk: TrainActions, widgets: form.ConfigForm) -> None:
    assert {picture.shape for picture in pictures_of(sheet(desk, widgets, image_size="700"))} == {
        (augment_preview.MAX_IMAGE_SIDE_PX, augment_preview.MAX_IMAGE_SIDE_PX, 3)
    }


def test_another_number_is_another_picture_and_any_number_is_one(desk: TrainActions, widgets: form.ConfigForm) -> None:
    shown = [re.search(r'class="file">(.*?)</p>', sheet(desk, widgets, str(number))) for number in range(18)]
    assert len({one[1] for one in shown if one}) == 18
    for odd in ("-1", "x", "9" * 40, "²"):
        assert pictures_of(sheet(desk, widgets, odd))


def test_another_seed_shows_a_picture_of_its_own_split(desk: TrainActions, widgets: form.ConfigForm) -> None:
    root = desk.parse_source(DATA).folder
    assert root is not None
    train = {item.path for item in scan.scan(root, seed=3).splits["train"]}
    shown = {re.sub("<[^>]+>", "", sheet(desk, widgets, str(n), seed=3)).split(" · ")[1] for n in range(18)}
    assert {path.split(".")[0] for path in train} == {text.split(".")[0] for text in shown}


def test_what_stands_in_the_way_is_told_in_one_sentence(desk: TrainActions, widgets: form.ConfigForm) -> None:
    slip = sheet(desk, widgets, augment="none", rotate=9.0)
    assert "ftlab-trouble" in slip
    assert "&quot;Rotation&quot; augments the training pictures" in slip
    assert "ftlab-trouble" in sheet(desk, widgets, image_size="300", resize="256")
    assert "ftlab-trouble" in sheet(desk, widgets, data=["folder", "nothing", 0.15, 0.15])
    folder = desk.parse_source(DATA).folder
    assert folder is not None
    for file in folder.rglob("*.*"):
        file.write_bytes(b"")
    assert "ftlab-trouble" in sheet(desk, widgets)


def test_a_folder_that_was_not_looked_at_is_not_looked_through(tmp_path: Path, tiny_folder: Path) -> None:
    tiny_folder.rename(tmp_path / "pictures")
    with gr.Blocks():
        widgets = form.build_form()
    assert "Scan them in the Dataset tab first" in sheet(
        TrainActions(ServerProfile(tmp_path, tmp_path / "runs")), widgets
    )
