"""An exported web page in a browser: it answers as the trained model does, and sends nothing anywhere."""

from __future__ import annotations

import io
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from playwright.sync_api import Page, expect

from ftlab.core.errors import FtlabError
from ftlab.export import web_runtime
from ftlab.export.formats import ExportOptions
from ftlab.export.model_source import ModelSource
from ftlab.export.web_page import page_files
from ftlab.inference import heatmap, load_model
from ftlab.inference.predictor import Predictor
from tests.support.exported_models import NAMES, draw_image, make_source
from tests.support.served_page import look

pytestmark = pytest.mark.usefixtures("one_thread")

EXIF_ORIENTATION = 274
PEOPLE_NAMES = {"amber": {"en": "Amber", "zh": "琥珀色"}, "blue": {"en": "Blue", "zh": "蓝色"}}


@contextmanager
def serve_folder(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """The address of `python -m http.server` in a folder, and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_arguments: object) -> None:
            asked.append(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", asked
        finally:
            server.shutdown()
            thread.join()


def write_page(source: ModelSource, folder: Path) -> Path:
    """The page of a model that comes from no run."""
    try:
        web_runtime.find_web_runtime()
    except FtlabError as error:
        pytest.skip(str(error))
    folder.mkdir()
    page_files.write_files(source, folder, ExportOptions())
    (folder / "model.json").write_text(json.dumps(source.describe()), encoding="utf-8")
    (folder / "check.json").write_text(json.dumps({"check": None, "forced": False}), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def source() -> ModelSource:
    made = make_source()
    made.predictor.display_names = PEOPLE_NAMES
    return made


@pytest.fixture(scope="module")
def folder(source: ModelSource, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(source, tmp_path_factory.mktemp("web") / "page")


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    with serve_folder(folder) as (address, _asked):
        yield address


@pytest.fixture
def open_page(page: Page, url: str) -> Page:
    """The page with its model."""
    page.goto(url)
    wait_for(page, "ready")
    return page


def wait_for(page: Page, state: str) -> None:
    page.locator(f'body[data-state="{state}"]').wait_for()


def show(page: Page, image: Path | bytes, name: str = "picture.jpg") -> None:
    """Choose a picture, and wait for its answer."""
    number = page.evaluate("pictureNumber")
    content = image if isinstance(image, bytes) else image.read_bytes()
    page.locator("#file").set_input_files({"name": name, "mimeType": "image/jpeg", "buffer": content})
    page.locator('body[data-state="answered"], #error:visible').first.wait_for()
    wait_for(page, "answered")
    assert page.evaluate("pictureNumber") == number + 1


def encode(pixels: np.ndarray, file_format: str = "JPEG", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, file_format, **options)
    return stream.getvalue()


def make_swapped_profile() -> bytes:
    """A color profile by which red is blue: whoever converts by it sees another picture."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"????", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"????", b"bXYZ", 1)


def make_rotated() -> bytes:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    return encode(draw_image(200, 320, 2), quality=90, exif=exif)


def make_transparent() -> bytes:
    alpha = np.linspace(0, 255, 150 * 100).round().astype(np.uint8).reshape(150, 100, 1)
    return encode(np.concatenate([draw_image(150, 100, 3), alpha], axis=2), "PNG")


PICTURES: dict[str, Callable[[], bytes]] = {
    "plain": lambda: encode(draw_image(333, 500, 1), quality=90),
    "rotated by EXIF": make_rotated,
    "with a color profile": lambda: encode(draw_image(300, 300, 4), quality=90, icc_profile=make_swapped_profile()),
    "gray": lambda: encode(draw_image(120, 200, 5)[..., 0]),
    "transparent": make_transparent,
    "one pixel wide": lambda: encode(draw_image(90, 1, 6), "PNG"),
    "very long": lambda: encode(draw_image(40, 5000, 7), "PNG"),
    "of 48 megapixels": lambda: encode(np.kron(draw_image(60, 80, 8), np.ones((100, 100, 1), np.uint8))),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture_gets_the_answer_and_the_heat_of_the_trained_model(
    open_page: Page, source: ModelSource, kind: str
) -> None:
    content = PICTURES[kind]()
    show(open_page, content)
    check_answer(open_page, source, content, with_heat=True)


def check_answer(page: Page, source: ModelSource, content: bytes, *, with_heat: bool) -> float:
    """Compare the page's answer with the model's; returns the largest difference of a probability."""
    predictor = source.predictor
    scores, explanation = predictor.predict_and_explain(io.BytesIO(content), k=len(predictor.class_names))
    expected = np.zeros(len(scores))
    for score in scores:
        expected[score.class_index] = score.probability
    found = np.array(page.evaluate("lastAnswer.probabilities"))
    assert page.evaluate("lastAnswer.shownClass") == scores[0].class_index
    difference = float(np.abs(found - expected).max())
    assert difference <= 5e-3
    if not with_heat:
        return difference
    height, width = explanation.image.shape[:2]
    assert page.evaluate("[find('heat').width, find('heat').height]") == [width, height]
    box = page.evaluate(
        "findVisibleBox(lastAnswer.size, [find('heat').width, find('heat').height], description.preprocessing)"
    )
    assert tuple(box) == explanation.visible_box
    read = "Array.from(find('heat').getContext('2d').getImageData(0, 0, find('heat').width, find('heat').height).data)"
    drawn = np.array(page.evaluate(read), np.uint8).reshape(height, width, 4)
    # The drawing of the page's own map, level by level; opaque parts only, since a canvas keeps no color below.
    size = page.evaluate("lastAnswer.mapSize")
    maps = np.array(page.evaluate("Array.from(lastAnswer.classMaps)"), np.float32).reshape(len(scores), *size)
    own_map = np.maximum(maps[scores[0].class_index], 0)
    own_heat = heatmap.render_heatmap(own_map / own_map.max(), width, height, explanation.visible_box)
    layer = heatmap.render_layer(own_heat, explanation.visible_box).astype(int)
    assert np.abs(drawn[..., 3].astype(int) - layer[..., 3]).max() <= 2
    is_opaque = layer[..., 3] > 128
    assert np.abs(drawn[is_opaque][:, :3].astype(int) - layer[is_opaque][:, :3]).max() <= 6
    # And that map is the trained model's.
    assert own_map / own_map.max() == pytest.approx(explanation.scaled_map, abs=0.05)
    return difference


# On the 50 photographs each difference is below 5e-3 too: the real network of 1000 classes, with its own head.
def test_fifty_photographs_get_the_answers_of_the_trained_model(
    page: Page, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(shared_data / "torch_home"))
    untrained = load_model._load_untrained()
    prep = untrained.prep.__class__(**{**vars(untrained.prep), "exact_decoding": True})
    source = ModelSource(Predictor(untrained.network, untrained.spec, prep, untrained.class_names, "Lite0"))
    photographs = sorted((shared_data / "data/hymenoptera/val").glob("*/*.jpg"))[:: 153 // 50][:50]
    assert len(photographs) == 50
    differences = []
    with serve_folder(write_page(source, tmp_path / "page")) as (address, _asked):
        page.goto(address)
        wait_for(page, "ready")
        for number, path in enumerate(photographs):
            show(page, path)
            differences.append(check_answer(page, source, path.read_bytes(), with_heat=number % 10 == 0))
    print(f"50 of 50 the same class; largest difference {max(differences):.1e}, mean {np.mean(differences):.1e}")


# Privacy


def test_nothing_leaves_the_page(page: Page, folder: Path) -> None:
    requests: list[tuple[str, str]] = []
    page.context.on("request", lambda request: requests.append((request.method, request.url)))
    with serve_folder(folder) as (address, asked), serve_folder(folder) as (other, asked_elsewhere):
        page.goto(address)
        wait_for(page, "ready")
        loaded = len(asked)
        show(page, PICTURES["plain"]())
        assert len(asked) == loaded, "an answer asks the server for something"
        assert {method for method, _url in requests} == {"GET"}
        assert not [url for _method, url in requests if not url.startswith((address, "blob:" + address))]
        # The policy holds for the page and for the thread of the model, whatever a script of them tries.
        attempt = f"fetch('{other}model.json').then(() => 'sent', () => 'refused')"
        assert page.evaluate(attempt) == "refused"
        worker = f"{attempt}.then(postMessage)"
        start = "code => new Promise(done => { const worker = new Worker(URL.createObjectURL(new Blob([code])));"
        assert page.evaluate(start + "worker.onmessage = ({data}) => done(data); })", worker) == "refused"
        assert asked_elsewhere == []


# What people see


def test_names_for_people_unsure_answers_and_both_languages(open_page: Page) -> None:
    show(open_page, PICTURES["plain"]())
    top = open_page.evaluate("getName(lastAnswer.shownClass)")
    expect(open_page.locator("#best")).to_have_text(top)
    expect(open_page.locator("#bars li")).to_have_count(len(NAMES))
    assert top in {"Amber", "Blue", "green"}
    expect(open_page.locator("#unsure")).to_be_hidden()
    # As the Predict tab: what is below the threshold of the run stays the answer, and is marked.
    open_page.evaluate("description.threshold = 1.01; showTexts()")
    expect(open_page.locator("#best")).to_have_text(top)
    expect(open_page.locator("#unsure")).to_contain_text("Unsure: ")
    open_page.get_by_role("button", name="中文").click()
    expect(open_page.locator("html")).to_have_attribute("lang", "zh-Hans")
    expect(open_page.locator("#unsure")).to_contain_text("不确定")
    names = open_page.locator("#bars li span:first-child").all_inner_texts()
    assert set(names) == {"琥珀色", "蓝色", "green"}
    open_page.reload()
    expect(open_page.get_by_role("button", name="选择图片")).to_be_enabled()


def test_classes_that_people_call_the_same_are_told_apart(open_page: Page) -> None:
    script = """names => {
        const before = description;
        description = {classes: ['amber', 'blue', 'Stone (amber)', 'constructor'], names};
        const listed = listNames();
        description = before;
        return listed;
    }"""
    twins = {"amber": {"en": "Stone"}, "blue": {"en": "Stone"}}
    names = open_page.evaluate(script, twins)
    assert names == ["Stone (amber)", "Stone (blue)", "Stone (amber) (2)", "constructor"]


def test_the_heat_of_any_class_is_shown_by_mouse_and_keyboard(open_page: Page) -> None:
    show(open_page, PICTURES["plain"]())
    bars = open_page.locator("#bars button")
    expect(bars.nth(0)).to_have_attribute("aria-pressed", "true")
    for index in (1, 2):
        bars.nth(index).focus()
        open_page.keyboard.press("Enter")
        expect(bars.nth(index)).to_have_attribute("aria-pressed", "true")
        expect(bars.nth(index)).to_be_focused()
        name = bars.nth(index).locator("span").first.inner_text()
        expect(open_page.locator("#evidence-title")).to_have_text(f"Evidence for {name}")
    open_page.locator("#opacity").fill("0")
    expect(open_page.locator("#heat")).to_have_css("opacity", "0")
    open_page.locator("#opacity").fill("100")
    expect(open_page.locator("#heat")).to_have_css("opacity", "1")


def test_a_model_without_class_maps_says_so(page: Page, tmp_path: Path) -> None:
    source = make_source("mobilenet_v3_small")
    with serve_folder(write_page(source, tmp_path / "page")) as (address, _asked):
        page.goto(address)
        wait_for(page, "ready")
        show(page, PICTURES["plain"]())
        expect(page.locator("#evidence")).to_contain_text("This model has no class maps")
        expect(page.locator("#heat")).to_be_hidden()
        expect(page.locator("#bars button")).to_have_count(0)


def test_a_picture_comes_by_drop_paste_and_camera(open_page: Page) -> None:
    transfer = """async (bytes) => {
        const data = new DataTransfer();
        data.items.add(new File([Uint8Array.from(bytes)], 'mine.png', {type: 'image/png'}));
        return data;
    }"""
    data = open_page.evaluate_handle(transfer, list(encode(draw_image(50, 80), "PNG")))
    open_page.evaluate(
        "data => document.dispatchEvent(new DragEvent('drop', {dataTransfer: data, cancelable: true}))", data
    )
    wait_for(open_page, "answered")
    assert open_page.evaluate("lastAnswer.size") == [80, 50]
    other = open_page.evaluate_handle(transfer, list(encode(draw_image(70, 60), "PNG")))
    open_page.evaluate("data => document.dispatchEvent(new ClipboardEvent('paste', {clipboardData: data}))", other)
    expect(open_page.locator("#picture")).to_have_attribute("height", "70")
    wait_for(open_page, "answered")
    # A camera that shows a canvas.
    open_page.evaluate("""navigator.mediaDevices.getUserMedia = async () => {
        const canvas = makeCanvas(64, 48);
        canvas.getContext('2d').fillRect(0, 0, 64, 48);
        globalThis.filmed = canvas.captureStream(5);
        return filmed;
    }""")
    open_page.get_by_role("button", name="Camera").click()
    expect(open_page.get_by_role("button", name="Take the picture")).to_be_focused()
    open_page.keyboard.press("Enter")
    expect(open_page.locator("#picture")).to_have_attribute("height", "48")
    wait_for(open_page, "answered")
    assert open_page.evaluate("filmed.getTracks()[0].readyState") == "ended"
    open_page.evaluate("void (navigator.mediaDevices.getUserMedia = () => Promise.reject(new Error('refused')))")
    open_page.get_by_role("button", name="Camera").click()
    expect(open_page.get_by_role("alert")).to_contain_text("The camera cannot be used")


# Errors: one line each


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
BAD_FILES = {
    "notes.txt": (b"no picture", "notes.txt is not a picture that this browser can open"),
    "IMG_1.heic": (HEIC, "IMG_1.heic is a HEIC picture"),
    "nothing.jpg": (b"", "nothing.jpg is empty"),
    "cut.jpg": (encode(draw_image(200, 300))[:300], "cut.jpg cannot be opened: it is damaged, or too large"),
}


def test_a_file_that_is_no_picture_is_told_in_a_line_and_the_next_one_is_answered(open_page: Page) -> None:
    for name, (content, message) in BAD_FILES.items():
        open_page.locator("#file").set_input_files({"name": name, "mimeType": "image/jpeg", "buffer": content})
        expect(open_page.get_by_role("alert")).to_contain_text(message)
        assert "\n" not in open_page.get_by_role("alert").inner_text()
    show(open_page, PICTURES["plain"]())
    expect(open_page.get_by_role("alert")).to_be_hidden()


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("model.onnx", "delete", "model.onnx cannot be loaded"),
        ("model.onnx", "cut", "model.onnx is not complete"),
        ("onnxruntime-web/ort-wasm-simd-threaded.wasm", "cut", "ort-wasm-simd-threaded.wasm is not complete"),
        ("onnxruntime-web/ort.wasm.min.js", "delete", "ort.wasm.min.js cannot be loaded"),
        ("model.json", "cut", "model.json is not complete"),
        ("model.onnx", "damage", "The model does not start in this browser"),
    ],
)
def test_a_file_that_is_missing_or_not_whole_is_named(
    page: Page, folder: Path, tmp_path: Path, name: str, change: str, message: str
) -> None:
    shutil.copytree(folder, tmp_path / "page")
    path = tmp_path / "page" / name
    content = path.read_bytes()
    path.unlink()
    if change != "delete":
        path.write_bytes(content[:100] if change == "cut" else b"\xff" * len(content))
    with serve_folder(tmp_path / "page") as (address, _asked):
        page.goto(address)
        expect(page.get_by_role("alert")).to_contain_text(message)
        expect(page.get_by_role("button", name="Choose a picture")).to_be_disabled()


def test_a_browser_without_webassembly_says_so(page: Page, url: str) -> None:
    page.add_init_script("delete globalThis.WebAssembly")
    page.goto(url)
    expect(page.get_by_role("alert")).to_contain_text("This browser has no WebAssembly")


def test_a_page_opened_as_a_file_names_the_command_that_serves_it(
    page: Page, folder: Path, foreign_requests: list[str]
) -> None:
    page.goto((folder / "index.html").as_uri())
    expect(page.locator("#error:visible, #opened:visible").first).to_contain_text(
        '"python -m http.server" in its folder'
    )
    assert all(url.startswith(folder.as_uri()) for url in foreign_requests)
    foreign_requests.clear()


def test_a_thread_that_ran_out_of_memory_is_replaced(open_page: Page, source: ModelSource) -> None:
    show(open_page, PICTURES["plain"]())
    open_page.evaluate("model.answer({pixels: new Uint8Array(3), width: 5, height: 1}, () => true).catch(() => {})")
    content = PICTURES["gray"]()
    show(open_page, content)
    check_answer(open_page, source, content, with_heat=False)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_wide_and_narrow_windows(page: Page, url: str, screenshots: Path, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(url)
    wait_for(page, "ready")
    look(page, screenshots, f"web-page-empty-{scheme}-{{}}")
    show(page, PICTURES["plain"]())
    look(page, screenshots, f"web-page-answer-{scheme}-{{}}")
