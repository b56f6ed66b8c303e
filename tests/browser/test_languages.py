"""The page in Chinese, in a real browser: no English is left on it, and the switch keeps what was typed and chosen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from ftlab.config.backbones import BACKBONES
from ftlab.config.train_config import FIELDS
from ftlab.core import messages
from ftlab.runs.directory import Run
from tests.support import drawn_images, fabricated_runs
from tests.support.served_page import open_settings, serve_page

SOON = 30_000
"""Milliseconds for what needs a server's answer."""
TABS = ("dataset", "train", "predict", "inspect", "compare", "runs")
# fmt: off
NAMES = {
    # programs, data sets, people's and companies' names
    "ftlab", "English", "timm", "torchvision", "PyTorch", "ImageNet", "Keras", "NVIDIA", "ONNX", "Runtime",
    "TensorBoard", "trackio", "MLflow", "wandb", "tensorboard", "mlflow", "EfficientNet", "Lite0",
    # units, file formats, terms that Chinese texts write so
    "MB", "GB", "kB", "zip", "csv", "jsonl", "json", "pth", "safetensors", "path", "label", "split", "tar", "gbk",
    "cp932", "cp866", "PNG", "CSV", "HTML", "JPEG", "GPU", "CPU", "CUDA", "graphs", "torch", "compile", "workers",
    "logit", "logits", "ReLU", "Xavier", "BatchNorm", "Dropout", "Mixup", "CutMix", "mixup", "alpha", "gamma", "EMA",
    "Nesterov", "SGD", "AdamW", "Adam", "RMSprop", "L2", "state_dict", "CAM", "Grad", "top", "val", "s3", "bf16",
    "fp16", "fp32", "float32", "float16", "int8",
    # names of flags, settings and commands in hints
    "NAME", "OLD", "NEW", "RUN", "levit_128s", "layers", "layer4", "python", "resume", "epochs",
}
# fmt: on
"""Words in Latin letters that a Chinese page may show."""
# What Gradio tells screen readers of an event (`.sr-only`) has no Chinese in Gradio.
READ_TEXTS_JS = """() => {
  const texts = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (element && !element.closest('script, style, code, pre, .sr-only') && element.checkVisibility()) {
      texts.push(walker.currentNode.textContent);
    }
  }
  return texts;
}"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("languages")


@pytest.fixture(scope="module")
def run(place: Path) -> Run:
    """A run that trains."""
    return fabricated_runs.make_at_work(place / "runs")


@pytest.fixture(scope="module")
def url(place: Path, run: Run) -> Iterator[str]:  # noqa: ARG001 - it is there before the page is
    with serve_page(place, drawn_images.tiny(place / "tiny")) as url:
        yield url


def open_tab(page: Page, name: str) -> None:
    page.locator(f"button[role=tab][data-tab-id={name}]").click()


def press_language(page: Page, name: str) -> None:
    with page.expect_navigation():
        page.locator(".ftlab-languages button", has_text=name).click()
    expect(page.locator(".ftlab-languages [aria-current]")).to_have_text(name)


def list_allowed_words() -> set[str]:
    """The names above, and the values of settings, which are those of the command line."""
    choices = [choice for field_spec, _ in FIELDS.values() for choice in field_spec.choices]
    titles = [text for name, spec in BACKBONES.items() for text in (name, spec.title)]
    return NAMES | set(find_words(" ".join([*choices, *titles, *FIELDS])))


def find_words(text: str) -> list[str]:
    return re.findall(r"[A-Za-z][A-Za-z0-9_]+", text)


def test_the_chinese_page_has_no_english_word(page: Page, url: str, place: Path, run: Run) -> None:
    page.set_extra_http_headers({"Accept-Language": "zh-CN,zh;q=0.9"})
    page.goto(url)
    expect(page.locator("#dataset-summary h2")).to_be_visible(timeout=SOON)
    allowed_words = list_allowed_words() | set(
        find_words(f"{place} {run.name} tiny amber amber_1 blue green jpg train val test")
    )
    foreign_texts = {}
    for name in TABS:
        open_tab(page, name)
        closed_sections = page.locator("button.label-wrap:visible:not(.open)")
        while closed_sections.count():
            closed_sections.first.click()
        page.wait_for_timeout(1000)
        for text in page.evaluate(READ_TEXTS_JS):
            if foreign := set(find_words(text)) - allowed_words:
                foreign_texts[text.strip()] = foreign
    assert not foreign_texts
    assert page.evaluate("document.documentElement.lang") == "zh-CN"


def test_the_switch_shows_the_page_in_the_other_language_and_back(page: Page, url: str) -> None:
    page.goto(url)
    train_tab = page.locator("button[role=tab][data-tab-id=train]")
    expect(train_tab).to_have_text("Train")
    press_language(page, "中文")
    expect(train_tab).to_have_text("训练")
    page.reload()
    expect(train_tab).to_have_text("训练")
    press_language(page, "English")
    expect(train_tab).to_have_text("Train")


def test_the_switch_keeps_the_form_the_image_and_the_training(page: Page, url: str, place: Path) -> None:
    page.goto(url)
    open_tab(page, "predict")
    image = next((place / "tiny").rglob("*.png"), None) or next((place / "tiny").rglob("*.jpg"))
    page.locator("#predict-image input[type=file]").set_input_files(image)
    expect(page.locator("#predict-image img")).to_be_visible(timeout=SOON)
    open_tab(page, "train")
    expect(page.locator("#train-progress")).to_contain_text(messages.get_text("status.detail.training"), timeout=SOON)
    page.locator("#train-mode label", has_text="From scratch").click()
    open_settings(page)
    page.locator("#train-epochs input").fill("17")
    page.locator("#train-epochs input").press("Tab")

    press_language(page, "中文")
    open_tab(page, "train")
    with messages.use_language("zh"):
        training = messages.get_text("status.detail.training")
    expect(page.locator("#train-progress")).to_contain_text(training, timeout=SOON)
    open_settings(page)
    expect(page.locator("#train-epochs input")).to_have_value("17")
    expect(page.locator("#train-mode label:has(input:checked)")).to_contain_text("从头训练")
    page.wait_for_timeout(2000)  # what is put into the form late would be there now
    expect(page.locator("#train-epochs input")).to_have_value("17")
    open_tab(page, "predict")
    expect(page.locator("#predict-image img")).to_be_visible(timeout=SOON)
    assert page.locator("#predict-image img").evaluate("(image) => image.decode().then(() => image.naturalWidth)")
