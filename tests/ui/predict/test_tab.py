"""The Predict tab: which models a page may ask, and how their answers are shown."""

from __future__ import annotations

import base64
import csv
import dataclasses
import io
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
from gradio.data_classes import ImageData
from gradio.media import get_image
from PIL import Image

from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import ImageError, WeightsError
from ftlab.core.messages import format_percent
from ftlab.data.dataset import catalog, scan
from ftlab.data.isolation import isolated
from ftlab.inference import before_finetuning
from ftlab.inference.before_finetuning import PretrainedBaseline
from ftlab.inference.cam_options import CamOptions
from ftlab.inference.decision_rule import DecisionRule
from ftlab.inference.faithfulness import Faithfulness
from ftlab.inference.predictor import ClassExplanation, ClassScore
from ftlab.models.cam_layers import CamLayer
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.server.people.rights import ProfileKind
from ftlab.server.profile import ServerProfile
from ftlab.ui.common.image_field import get_uploaded_path
from ftlab.ui.predict import view
from ftlab.ui.predict.actions import UNTRAINED_MODEL, PredictActions
from ftlab.ui.predict.examples import list_examples
from ftlab.ui.predict.gallery_actions import MAX_IMAGES_PER_REQUEST, GalleryActions
from tests.support.faults import rename_images
from tests.support.hostile_text import EVIL
from tests.support.people import ANN, BEN, acting_as, give_to

PARTS = ("scores", "evidence", "overlay", "classes", "layer", "verdict", "menus")


class Stub:
    """A model whose answer is known: class i gets a probability in proportion to 2^-i; class 1 has no evidence."""

    title = "A model"
    decision: DecisionRule | None = None
    display_names: dict[str, dict[str, str]] = {}  # noqa: RUF012
    class_names = ("ant", "bee", EVIL, "dog", "elk", "fox", "gnu")
    spec = SimpleNamespace(cam="features")
    prep = SimpleNamespace(value_ranges=None)
    cam_layers = (CamLayer("early", "chw", 0, 56), CamLayer("features", "chw", 0, 7), CamLayer("norm", "chw", 0, 7))

    def __init__(self) -> None:
        self.asked: list[CamOptions] = []

    def predict_and_explain(
        self,
        image_path: str,
        class_index: int | None = None,
        k: int = 5,
        cam_options: CamOptions = CamOptions(),
    ) -> tuple[list[ClassScore], ClassExplanation]:
        self.asked.append(cam_options)
        chosen = 0 if class_index is None else class_index
        pixels = np.full((30, 40, 3), 100, np.uint8)
        scaled_map = np.zeros((3, 3), np.float32)
        if chosen != 1:
            scaled_map[0] = 0.0, 0.5, 1.0
        return self.predict(image_path, k), ClassExplanation(
            chosen, pixels, scaled_map, (5, 0, 35, 30), cam_options=cam_options
        )

    def score_faithfulness(
        self, _image_path: str, class_index: int, cam_options: CamOptions, progress: Callable[[int, int], None]
    ) -> Faithfulness | None:
        self.asked.append(cam_options)
        progress(101, 202)
        curve = np.linspace(1, 0, 21)
        return (
            None
            if class_index == 1
            else Faithfulness(curve, curve, curve[::2] / 2, curve[::2], 9 if class_index else 3)
        )

    def is_rejected(self, scores: list[ClassScore]) -> bool:
        return self.decision is not None and self.decision.rejects_probability(scores[0].probability)

    def predict(self, image_path: str, k: int = 5) -> list[ClassScore]:
        if "bad" in Path(image_path).name:
            raise ImageError("empty", file=image_path)
        whole = sum(0.5**place for place in range(len(self.class_names)))
        return [ClassScore(i, name, 0.5**i / whole) for i, name in enumerate(self.class_names)][:k]


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PredictActions:
    made, stub = PredictActions(ServerProfile(tmp_path, tmp_path / "runs")), Stub()
    monkeypatch.setattr(made, "load_predictor", lambda _model: stub)
    return made


@pytest.fixture
def asked_how(lab: PredictActions) -> list[CamOptions]:
    """What the model was asked, in turn."""
    asked: list[CamOptions] = lab.load_predictor(UNTRAINED_MODEL).asked  # type: ignore[attr-defined]
    return asked


def show_gallery(lab: PredictActions, files: list[str]) -> str:
    return GalleryActions(lab.load_predictor).predict_several({}, UNTRAINED_MODEL, files)


def asked(answer: list[Any]) -> dict[str, Any]:
    return dict(zip(PARTS, answer, strict=True))


def bars(scores: str) -> list[tuple[str, str, str]]:
    """Name, probability and whether it is pressed, of each bar."""
    found = re.findall(r'aria-pressed="(\w+)"><span class="name">(.*?)</span><span class="share">(.*?)</span>', scores)
    return [(name, share, pressed) for pressed, name, share in found]


def text(markup: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", markup)).strip()


def trained(root: Path, folder: Path | None = None, *, best: bool = True) -> Run:
    run = run_store.create_run(root, TrainConfig(sample="shapes"))
    if best:
        run.best_weights_path.touch()
    if folder:
        run.write_json("split.json", scan.scan(folder, val_share=0.25, test_share=0.25).to_json())
    return run


# --- one picture


def test_the_five_likeliest_classes_are_bars_and_the_first_is_chosen(lab: PredictActions) -> None:
    scores = asked(lab.predict({}, UNTRAINED_MODEL, "a.jpg"))["scores"]
    assert [name for name, _, _ in bars(scores)] == [
        "ant",
        "bee",
        "&lt;img src=x onerror=alert(1)&gt;${alert(2)}",
        "dog",
        "elk",
    ]
    assert [pressed for _, _, pressed in bars(scores)] == ["true", "false", "false", "false", "false"]
    assert bars(scores)[0][1] == "50.4 %"
    assert "The 5 most probable of 7 classes · A model" in text(scores)


def test_a_gallery_of_one_picture_says_so_in_the_singular(lab: PredictActions) -> None:
    assert ">1 picture<" in show_gallery(lab, [get_image("lion.jpg")])


def test_classes_have_their_names_in_the_pages_language_and_the_table_their_own(
    lab: PredictActions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FTLAB_LANGUAGE", "zh")
    monkeypatch.setattr(Stub, "display_names", {"ant": {"en": "ant", "zh": "蚂蚁"}, "bee": {"en": "honey bee"}})
    shown = asked(lab.predict({}, UNTRAINED_MODEL, "a.jpg"))
    assert [name for name, _, _ in bars(shown["scores"])][:2] == ["蚂蚁", "honey bee"]
    assert "蚂蚁" in shown["overlay"]
    assert shown["classes"].choices[:2] == [("蚂蚁", 0), ("honey bee", 1)]
    several = show_gallery(lab, [get_image("lion.jpg")])
    assert "<b>蚂蚁</b>" in several
    (address,) = re.findall(r'href="data:text/csv[^,]*,([^"]*)"', several)
    assert "ant" in base64.b64decode(address).decode("utf-8-sig")


def test_all_classes_are_shown_where_there_are_fewer_than_five() -> None:
    scores = view.render_scores([ClassScore(0, "ant", 0.9), ClassScore(1, "bee", 0.1)], 0, "A model")
    assert [name for name, _, _ in bars(scores)] == ["ant", "bee"]
    assert "All 2 classes" in text(scores)


def test_pressing_a_bar_shows_the_evidence_for_that_class(lab: PredictActions) -> None:
    event: Any = SimpleNamespace(_data={"index": 3})
    shown = asked(lab.explain_pressed_class({}, UNTRAINED_MODEL, "a.jpg", "grad_cam", "", False, "", event))
    assert [pressed for _, _, pressed in bars(shown["scores"])] == ["false", "false", "false", "true", "false"]
    assert "Evidence for dog" in text(shown["overlay"])
    assert shown["classes"].value == 3


def test_a_chosen_class_that_is_not_among_the_first_gets_a_bar_of_its_own(lab: PredictActions) -> None:
    scores = asked(lab.explain({}, UNTRAINED_MODEL, "a.jpg", index=6))["scores"]
    assert [name for name, _, _ in bars(scores)][-1] == "gnu"
    assert len(bars(scores)) == 6


@pytest.mark.parametrize("index", [-1, 7, "3", None, 2.5, True])
def test_a_class_that_the_model_does_not_have_gives_the_first(lab: PredictActions, index: object) -> None:
    assert asked(lab.explain({}, UNTRAINED_MODEL, "a.jpg", index=index))["classes"].value == 0


def test_the_menus_of_a_model_are_sent_once(lab: PredictActions) -> None:
    first = asked(lab.predict({}, UNTRAINED_MODEL, "a.jpg"))
    assert len(first["classes"].choices) == 7
    assert first["evidence"].visible is True
    second = asked(lab.explain({}, UNTRAINED_MODEL, "a.jpg", index=3, menus=first["menus"]))
    assert (second["classes"], second["layer"], second["menus"]) == (3, "", first["menus"])
    assert second["evidence"] == gr.skip()
    other = asked(lab.predict({}, UNTRAINED_MODEL, "a.jpg", menus="those of another model"))
    assert len(other["classes"].choices) == 7


def test_after_a_message_the_next_answer_has_all_again(lab: PredictActions) -> None:
    message = asked(lab.predict({}, UNTRAINED_MODEL, "bad.jpg", menus=asked(lab.predict({}, "", "a.jpg"))["menus"]))
    assert (message["evidence"].visible, message["menus"]) == (False, "")


@pytest.mark.parametrize(("typed", "index"), [("bee", 1), (" Bee ", 1), ("DOG", 3), ("be", 0), (None, 0), (2.5, 0)])
def test_a_class_may_be_typed_by_its_name(lab: PredictActions, typed: object, index: int) -> None:
    assert asked(lab.explain({}, UNTRAINED_MODEL, "a.jpg", index=typed))["classes"].value == index


def test_no_picture_gives_the_next_step(lab: PredictActions) -> None:
    shown = asked(lab.predict({}, UNTRAINED_MODEL, None))
    assert "No picture yet" in shown["scores"]
    assert shown["evidence"].visible is False


@pytest.mark.usefixtures("faulty_decoder")
def test_pictures_that_crash_or_hang_the_decoder_are_named_and_the_page_goes_on(
    lab: PredictActions, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_first(stub: Stub, image_path: str, k: int = 5) -> list[ClassScore]:
        isolated.read_image(image_path)
        return [ClassScore(i, name, 0.5 ** (i + 1)) for i, name in enumerate(stub.class_names)][:k]

    monkeypatch.setattr(Stub, "predict", read_first)
    crashing, hanging = rename_images(tiny_folder, "aborts", "hangs")
    whole = [str(path) for path in sorted(tiny_folder.rglob("*.jpg"))[-2:]]
    several = text(show_gallery(lab, [whole[0], str(crashing), str(hanging), whole[1]]))
    assert several.count("It made the image decoder crash.") == 1
    assert several.count("It was not decoded within 5 seconds.") == 1
    assert several.count("ant ") == 2
    shown = asked(lab.predict({}, UNTRAINED_MODEL, str(crashing)))
    assert text(shown["scores"]).startswith("aborts.jpg : It made the image decoder crash.")
    assert "Evidence for ant" in text(asked(lab.predict({}, UNTRAINED_MODEL, whole[0]))["overlay"])


def test_a_bad_picture_is_told_by_its_name_in_one_line(lab: PredictActions, tmp_path: Path) -> None:
    shown = asked(lab.predict({}, UNTRAINED_MODEL, str(tmp_path / "secret" / "<b>bad.jpg")))
    assert text(shown["scores"]) == "&lt;b&gt;bad.jpg : The file is empty. Copy or download it again."
    assert "secret" not in shown["scores"]
    assert shown["evidence"].visible is False


def test_a_picture_reaches_the_model_as_it_was_sent() -> None:
    assert get_uploaded_path(ImageData(path="/uploads/a.tiff")) == "/uploads/a.tiff"
    assert get_uploaded_path(None) is None


# --- the heat


def test_picture_and_heat_lie_on_each_other_and_can_be_downloaded(lab: PredictActions) -> None:
    overlay = asked(lab.predict({}, UNTRAINED_MODEL, "/uploads/my ant.jpg"))["overlay"]
    assert re.findall(r'class="(under|over)" width="(\d+)" height="(\d+)"', overlay) == [
        ("under", "40", "30"),
        ("over", "40", "30"),
    ]
    assert re.findall(r'download="(.*?)"', overlay) == ["my ant-picture.jpg", "my ant-heat.jpg", "my ant-overlay.png"]
    assert "The gray border was cropped away" in overlay
    assert overlay.count("data:image/jpeg") == 1, "the browser makes the downloads"


def test_the_map_is_sent_small_and_the_browser_draws_it(lab: PredictActions) -> None:
    overlay = asked(lab.predict({}, UNTRAINED_MODEL, "a.jpg"))["overlay"]
    assert 'data-grid="3 3" data-box="5 0 35 30"' in overlay
    (code,) = re.findall(r'data-map="(.*?)"', overlay)
    assert np.frombuffer(base64.b64decode(code), "<u2").tolist() == [0, 32768, 65535, 0, 0, 0, 0, 0, 0]


def test_no_evidence_is_said_and_not_stretched_into_some(lab: PredictActions) -> None:
    overlay = asked(lab.explain({}, UNTRAINED_MODEL, "a.jpg", index=1))["overlay"]
    assert "No evidence for this class: bee" in text(overlay)
    assert 'class="over"' not in overlay
    assert re.findall(r'download="(.*?)"', overlay) == ["a-picture.jpg"]


def test_a_backbone_that_gives_no_map_says_so(lab: PredictActions, monkeypatch: pytest.MonkeyPatch) -> None:
    look = Stub.predict_and_explain

    def without(*given: Any, **more: Any) -> tuple[list[ClassScore], ClassExplanation]:
        scores, found = look(*given, **more)
        return scores, dataclasses.replace(found, scaled_map=np.zeros((0, 0), np.float32), has_map=False)

    monkeypatch.setattr(Stub, "predict_and_explain", without)
    overlay = asked(lab.explain({}, UNTRAINED_MODEL, "a.jpg", index=0))["overlay"]
    assert "No heat map for: ant" in text(overlay)
    assert "has no spatial feature map" in text(overlay)
    assert 'class="over"' not in overlay


def test_class_names_are_escaped_in_the_overlay(lab: PredictActions) -> None:
    overlay = asked(lab.explain({}, UNTRAINED_MODEL, "a.jpg", index=2))["overlay"]
    assert "<img src=x" not in overlay
    assert "&lt;img src=x" in overlay


# --- how it looks


def test_method_and_layer_are_those_of_the_folded_section(lab: PredictActions, asked_how: list[CamOptions]) -> None:
    shown = asked(lab.predict({}, UNTRAINED_MODEL, "a.jpg", "layer_cam", "early", False))
    assert asked_how == [CamOptions("layer_cam", "early")]
    assert shown["layer"].value == "early"
    lab.explain({}, UNTRAINED_MODEL, "a.jpg", "hires_cam", "", False, 3)
    assert asked_how[1] == CamOptions("hires_cam", "")


def test_layers_next_to_the_answer_come_first_and_the_usual_one_before_all(lab: PredictActions) -> None:
    chooser = asked(lab.predict({}, UNTRAINED_MODEL, "a.jpg"))["layer"]
    assert chooser.choices == [
        ("features (7 × 7), default", ""),
        ("norm (7 × 7)", "norm"),
        ("early (56 × 56)", "early"),
    ]


@pytest.mark.parametrize("layer", ["of another model", "", None, 7, ["x"]])
def test_a_layer_that_the_model_does_not_have_is_the_usual_one(
    lab: PredictActions, asked_how: list[CamOptions], layer: object
) -> None:
    shown = asked(lab.predict({}, UNTRAINED_MODEL, "a.jpg", "score_cam", layer, False))
    assert asked_how == [CamOptions()]
    assert shown["layer"].value == ""


def test_before_stands_beside_after(
    lab: PredictActions, monkeypatch: pytest.MonkeyPatch, asked_how: list[CamOptions]
) -> None:
    then = PretrainedBaseline("imagenet", Stub(), 0)  # type: ignore[arg-type]
    monkeypatch.setattr(before_finetuning, "pretrained_baseline", lambda _run, _model, _index: then)
    overlay = asked(lab.predict({}, UNTRAINED_MODEL, "a.jpg", "layer_cam", "early", True))["overlay"]
    assert text(overlay).count("Before fine-tuning") == text(overlay).count("After fine-tuning") == 1
    assert overlay.index("Before fine-tuning") < overlay.index("After fine-tuning")
    assert overlay.count('class="over"') == 2
    assert "ImageNet's class “ant”, to which it gives 50.4 %." in text(overlay).replace("&#x27;", "'")
    assert then.model is not None
    assert then.model.asked == asked_how == [CamOptions("layer_cam", "early")]  # type: ignore[attr-defined]


def test_where_there_is_no_before_the_page_says_why(lab: PredictActions) -> None:
    overlay = asked(lab.predict({}, UNTRAINED_MODEL, "a.jpg", "grad_cam", "", True))["overlay"]
    assert "This is the pretrained network itself" in text(overlay)
    assert overlay.count('class="over"') == 1


def test_weights_that_are_not_here_leave_what_is_now(lab: PredictActions, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_given: object) -> PretrainedBaseline:
        raise WeightsError("weights.none", title="Net")

    monkeypatch.setattr(before_finetuning, "pretrained_baseline", missing)
    overlay = asked(lab.predict({}, UNTRAINED_MODEL, "a.jpg", "grad_cam", "", True))["overlay"]
    assert "Net" in text(overlay)
    assert overlay.count('class="over"') == 1


def weighed(lab: PredictActions, index: object, picture: str | None = "a.jpg") -> str:
    silent: Any = lambda *_, **__: None  # noqa: E731
    return lab.score_faithfulness({}, UNTRAINED_MODEL, picture, "layer_cam", "early", False, index, silent)


def test_the_verdict_on_a_map_is_a_sentence_with_its_curves(lab: PredictActions, asked_how: list[CamOptions]) -> None:
    said = weighed(lab, 3)
    assert text(said).startswith("The map means something.")
    assert said.count("<svg") == 2
    assert said.count("<polyline") == 4
    assert asked_how == [CamOptions("layer_cam", "early")]
    assert "no better than a random one" in text(weighed(lab, 0))
    assert "nothing to test" in text(weighed(lab, 1))


def test_a_verdict_is_asked_of_the_first_class_where_none_fits(lab: PredictActions) -> None:
    for index in (None, 99, "x"):
        assert weighed(lab, index) == weighed(lab, 0)


def test_a_bad_picture_has_no_verdict_and_a_new_one_no_old_verdict(lab: PredictActions, tmp_path: Path) -> None:
    assert 'role="alert"' in weighed(lab, None, str(tmp_path / "bad.jpg"))
    assert "svg" not in weighed(lab, 0, None)
    assert "svg" not in asked(lab.predict({}, UNTRAINED_MODEL, "b.jpg"))["verdict"]


@pytest.mark.parametrize(
    ("probability", "said"),
    [(0.0, "0.0 %"), (1e-5, "< 0.1 %"), (0.1234, "12.3 %"), (0.99951, "> 99.9 %"), (1.0, "100.0 %")],
)
def test_a_probability_is_never_rounded_to_certainty(probability: float, said: str) -> None:
    assert format_percent(probability) == said


# --- none of these


def test_an_answer_below_the_threshold_stays_and_is_marked_unsure(
    lab: PredictActions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stub, "decision", DecisionRule("", 1.0, 0.6, 100, 90))
    scores = asked(lab.predict({}, UNTRAINED_MODEL, "a.jpg"))["scores"]
    assert text(scores).startswith("ant unsure (below 60.0 %)")
    assert len(bars(scores)) == 5
    several = show_gallery(lab, [get_image("lion.jpg")])
    assert "ant 50.4 % unsure (below 60.0 %)" in text(several)
    # What the switch shows in its place is on the page too.
    assert '<h2 class="rejected">None of these</h2>' in scores
    assert "The most probable is ant, with 50.4 %: below 60.0 %" in text(scores)
    assert "None of these ant 50.4 %" in text(several)


def test_an_answer_above_the_threshold_has_no_mark(lab: PredictActions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stub, "decision", DecisionRule("", 1.0, 0.5, 100, 90))
    scores = asked(lab.predict({}, UNTRAINED_MODEL, "a.jpg"))["scores"]
    assert "<h2>ant</h2>" in scores
    assert "unsure" not in text(scores)
    assert "None of these" not in text(scores)


# --- several pictures


def test_several_pictures_give_a_gallery_and_a_table(lab: PredictActions, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("=one.jpg", "two.jpg", "<b>bad.jpg")]
    for file in files:
        Image.new("RGB", (30, 20), "teal").save(file)
    gallery = show_gallery(lab, [str(file) for file in files])
    assert "3 pictures, 1 of them unreadable" in text(gallery)
    assert gallery.count("<img") == 2
    assert "<b>bad" not in gallery
    assert "ant 50.4 %" in text(gallery)
    code = re.findall(r'href="data:text/csv;charset=utf-8;base64,(.*?)"', gallery)[0]
    rows = list(csv.reader(io.StringIO(base64.b64decode(code).decode("utf-8-sig"))))
    assert rows[0][:5] == ["file", "class_1", "probability_1", "class_2", "probability_2"]
    assert rows[1][:3] == ["'=one.jpg", "ant", "0.503937"], "no spreadsheet program runs it"
    assert rows[3][0] == "<b>bad.jpg"
    assert rows[3][-1] == "The file is empty. Copy or download it again."
    assert {len(row) for row in rows} == {12}


def test_too_many_pictures_are_refused_in_one_line(lab: PredictActions) -> None:
    said = show_gallery(lab, ["a.jpg"] * (MAX_IMAGES_PER_REQUEST + 1))
    assert 'role="alert"' in said
    assert "at most 200" in said


def test_pressing_one_of_several_looks_at_it_alone(lab: PredictActions) -> None:
    def pressed(index: object) -> Any:
        event: Any = SimpleNamespace(_data={"index": index})
        return GalleryActions(lab.load_predictor).select_file(["a.jpg", "b.jpg"], event)

    assert pressed(1) == "b.jpg"
    for index in (2, -1, None, "1"):
        assert pressed(index) == gr.skip()


# --- models


def test_runs_with_a_model_are_offered_the_newest_first_and_the_untrained_one_always(tmp_path: Path) -> None:
    lab = PredictActions(ServerProfile(tmp_path, tmp_path / "runs"))
    older = tmp_path / "runs" / "20250101-000000-resnet18-full-0123456789ab"
    trained(tmp_path / "runs").path.rename(older)
    newest = trained(tmp_path / "runs")
    trained(tmp_path / "runs", best=False)
    chooser, _, seen = lab.list_models({}, UNTRAINED_MODEL, {})
    assert [name for _, name in chooser.choices] == [newest.name, older.name, UNTRAINED_MODEL]
    # As in the Inspect tab.
    assert chooser.value == newest.name
    assert lab.list_models({}, UNTRAINED_MODEL, seen)[0].value == UNTRAINED_MODEL, "chosen by the person"


def test_before_there_is_a_trained_model_the_untrained_one_is_chosen(tmp_path: Path) -> None:
    lab = PredictActions(ServerProfile(tmp_path, tmp_path / "runs"))
    chooser, _, seen = lab.list_models({}, UNTRAINED_MODEL, {})
    assert chooser.value == UNTRAINED_MODEL
    newest = trained(tmp_path / "runs")
    assert lab.list_models({}, UNTRAINED_MODEL, seen)[0].value == newest.name


def test_the_pages_own_run_is_chosen_once_and_then_the_persons_choice_stays(tmp_path: Path) -> None:
    lab = PredictActions(ServerProfile(tmp_path, tmp_path / "runs"))
    run = trained(tmp_path / "runs")
    chooser, _, seen = lab.list_models({"run": run.name}, UNTRAINED_MODEL, {})
    assert chooser.value == run.name
    chooser, _, _ = lab.list_models({"run": run.name}, UNTRAINED_MODEL, seen)
    assert chooser.value == UNTRAINED_MODEL


def test_on_a_space_only_a_visitors_own_run_can_be_asked(tmp_path: Path) -> None:
    lab = PredictActions(ServerProfile(None, tmp_path / "runs", ProfileKind.SPACE))
    run = give_to(trained(tmp_path / "runs"), ANN)
    with acting_as(BEN):
        chooser, _, _ = lab.list_models({"run": run.name}, UNTRAINED_MODEL, {})
        assert [name for _, name in chooser.choices] == [UNTRAINED_MODEL]
        shown = asked(lab.predict({"run": run.name}, run.name, "a.jpg"))
        assert "There is no run" in shown["scores"]
    with acting_as(ANN):
        chooser, _, _ = lab.list_models({"run": run.name}, UNTRAINED_MODEL, {})
        assert chooser.value == run.name


@pytest.mark.parametrize("model", ["../../etc", "", None, 7, ["x"]])
def test_a_model_that_is_not_offered_is_refused(tmp_path: Path, model: Any) -> None:
    lab = PredictActions(ServerProfile(tmp_path, tmp_path / "runs"))
    assert "There is no run" in asked(lab.predict({}, model, "a.jpg"))["scores"]


# --- examples


def test_examples_of_a_run_are_pictures_that_it_has_not_seen_one_of_each_class_first(
    tmp_path: Path, tiny_folder: Path
) -> None:
    run = trained(tmp_path / "runs", tiny_folder)
    examples = list_examples(run)
    kept = {item.path for item in catalog.catalog_from_json(run.read_json("split.json")).splits["test"]}
    assert {str(file.relative_to(tiny_folder)) for file, _ in examples} <= kept
    assert [name for _, name in examples[:3]] == ["amber", "blue", "green"]


def test_the_untrained_model_has_examples_too(tmp_path: Path) -> None:
    lab = PredictActions(ServerProfile(tmp_path, tmp_path / "runs"))
    assert lab.render_examples({}, UNTRAINED_MODEL).count("<img") == 3


def test_a_run_without_a_split_has_no_examples_and_no_error(tmp_path: Path) -> None:
    lab = PredictActions(ServerProfile(tmp_path, tmp_path / "runs"))
    assert lab.render_examples({}, trained(tmp_path / "runs").name) == ""


def test_pressing_an_example_puts_a_copy_among_the_uploads(tmp_path: Path) -> None:
    lab = PredictActions(ServerProfile(tmp_path, tmp_path / "runs"))

    def pressed(index: object) -> Any:
        event: Any = SimpleNamespace(_data={"index": index})
        return lab.select_example({}, UNTRAINED_MODEL, event)

    taken = Path(pressed(1))
    assert taken.name == "lion.jpg"
    assert taken.is_relative_to(tmp_path)
    assert taken.read_bytes() == Path(get_image("lion.jpg")).read_bytes()
    for index in (3, None, "x"):
        assert pressed(index) == gr.skip()


# --- for real


def test_a_model_is_prepared_for_fast_answers_when_the_page_chooses_it(tmp_path: Path) -> None:
    lab = PredictActions(ServerProfile(tmp_path, tmp_path))
    lab.preload_model({}, UNTRAINED_MODEL)
    predictor = lab.load_predictor(UNTRAINED_MODEL)
    predictor.prepare_graph().result(60)
    assert predictor.answers.has_graph
    shown = asked(lab.predict({}, UNTRAINED_MODEL, get_image("lion.jpg")))
    assert bars(shown["scores"])[0][0] == "lion"
    assert "Evidence for lion" in text(shown["overlay"])


def test_the_untrained_default_knows_a_lion(tmp_path: Path) -> None:
    shown = asked(PredictActions(ServerProfile(tmp_path, tmp_path)).predict({}, UNTRAINED_MODEL, get_image("lion.jpg")))
    assert bars(shown["scores"])[0][0] == "lion"
    assert len(shown["classes"].choices) == 1000
    assert "Evidence for lion" in text(shown["overlay"])
