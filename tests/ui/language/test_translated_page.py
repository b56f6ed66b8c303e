"""One server, two languages: each request and each event is answered in the language of whoever sent it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ftlab.core import messages
from ftlab.runs.directory import Run
from ftlab.server.people.languages import LANGUAGE_COOKIE
from tests.support import drawn_images, fabricated_runs
from tests.support.page_client import TIMEOUT_SECONDS, Tab, run_together
from tests.support.served_page import serve_page

ENGLISH, CHINESE = "en-US,en;q=0.9", "zh-CN,zh;q=0.9"


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


def open_browser(url: str, accepted: str, chosen: str = "") -> httpx.Client:
    cookies = {LANGUAGE_COOKIE: chosen} if chosen else {}
    headers = {"accept-language": accepted}
    return httpx.Client(base_url=url, headers=headers, cookies=cookies, timeout=TIMEOUT_SECONDS, follow_redirects=True)


def list_tabs(http: httpx.Client) -> list[str]:
    components = http.get("/config").json()["components"]
    return [component["props"]["label"] for component in components if component["type"] == "tabitem"]


def show_status(http: httpx.Client, run: Run) -> str:
    """What the Train tab shows of a run that is chosen there."""
    return Tab(http).call("choose_run", train_runs=run.name).text


def test_the_page_is_in_the_language_of_the_browser(url: str) -> None:
    with open_browser(url, CHINESE) as chinese, open_browser(url, ENGLISH) as english:
        assert list_tabs(chinese) == ["数据集", "训练", "预测", "分析", "对比", "训练记录"]
        assert list_tabs(english) == ["Dataset", "Train", "Predict", "Inspect", "Compare", "Runs"]
        assert "数据集" in chinese.get("/").text
        assert "数据集" not in english.get("/").text


def test_the_language_that_was_chosen_wins(url: str) -> None:
    with open_browser(url, CHINESE, "en") as http:
        assert list_tabs(http)[0] == "Dataset"
    with open_browser(url, ENGLISH, "zh") as http:
        assert list_tabs(http)[0] == "数据集"


def test_both_languages_have_the_same_components_and_events(url: str) -> None:
    """So events are those of one page, and the endpoints for programs have one name."""

    def outline(accepted: str) -> Any:
        with open_browser(url, accepted) as http:
            config = http.get("/config").json()
        components = [(item["id"], item["type"], item["props"].get("elem_id")) for item in config["components"]]
        events = [(item["id"], item["api_name"], item["inputs"], item["outputs"]) for item in config["dependencies"]]
        return components, events, config["layout"]

    assert outline(CHINESE) == outline(ENGLISH)


def test_two_people_at_once_get_each_their_own_language(url: str) -> None:
    def watch(accepted: str, own: str, others: str) -> None:
        with open_browser(url, accepted) as http:
            tab = Tab(http)
            for _ in range(8):
                for name in ("show_dataset", "list_runs"):
                    text = tab.call(name).text
                    assert own in text or name != "show_dataset", text[:500]
                    assert others not in text

    key = "dataset.split.val"
    english, chinese = (f">{messages.load_messages(code)[key]}<" for code in ("en", "zh"))
    run_together(
        [
            *[lambda: watch(CHINESE, chinese, english)] * 3,
            *[lambda: watch(ENGLISH, english, chinese)] * 3,
        ]
    )


@pytest.mark.parametrize(("accepted", "language"), [(ENGLISH, "en"), (CHINESE, "zh")])
def test_a_mistake_is_told_in_the_language_of_the_page(url: str, accepted: str, language: str) -> None:
    with open_browser(url, accepted) as http:
        answer = Tab(http).call("start_training", dataset_source="folder", dataset_location="")
    assert messages.load_messages(language)["error.page.no_folder"] in answer.toasts


@pytest.mark.parametrize(("accepted", "language"), [(ENGLISH, "en"), (CHINESE, "zh")])
def test_the_state_of_a_training_is_shown_in_both(url: str, run: Run, accepted: str, language: str) -> None:
    with open_browser(url, accepted) as http:
        text = show_status(http, run)
    table = messages.load_messages(language)
    assert table["status.training"] in text
    assert table["status.detail.training"] in text


def test_a_refused_request_is_told_in_the_language_of_the_browser(url: str) -> None:
    with open_browser(url, CHINESE) as http:
        assert http.get("/nowhere").text == messages.load_messages("zh")["server.route"]


def test_a_program_gets_english(url: str) -> None:
    with httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS) as http:
        answer = http.post("/gradio_api/run/scan", json={"data": ["nowhere"]})
    assert answer.status_code == 400
    assert answer.text.isascii()
