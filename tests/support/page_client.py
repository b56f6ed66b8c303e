"""A person's browser without a browser: a tab of a running server, whose events are sent as the page sends them."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

TIMEOUT_SECONDS = 120.0


@dataclass(frozen=True)
class Answer:
    """What the server said to one event.

    Attributes:
        succeeded: whether the event ended without an error.
        values: the outputs; empty after an error.
        text: the whole answer, as it was sent.
        toasts: messages that the page shows for a moment.
    """

    succeeded: bool
    values: list[Any] = field(default_factory=list)
    text: str = ""
    toasts: list[str] = field(default_factory=list)


class Tab:
    """One tab. Two of them with one `http` are two tabs of one person."""

    def __init__(self, http: httpx.Client) -> None:
        self.http, self.session = http, secrets.token_hex(6)
        self.http.get("/").raise_for_status()
        config = self.http.get("/config").json()
        self._components = {component["id"]: component for component in config["components"]}
        self._events = {event["api_name"]: event for event in config["dependencies"]}

    def upload(self, name: str, content: bytes) -> str:
        """Send a file; where the server keeps it."""
        answer = self.http.post("/gradio_api/upload", files={"files": (name, content)})
        answer.raise_for_status()
        return str(answer.json()[0])

    def build_body(self, event_name: str, **values: Any) -> dict[str, Any]:
        """The body of an event; `values` are those of fields by their element's name, with `_` for `-`; all others are
        those of a page that was just opened."""
        event = self._events[event_name]
        data = [self._get_value(self._components[number], values) for number in event["inputs"]]
        return {"data": data, "fn_index": event["id"], "session_hash": self.session}

    def send(self, event_name: str, **values: Any) -> None:
        """Put an event into the queue of the page, and do not wait."""
        body = self.build_body(event_name, **values)
        self.http.post("/gradio_api/queue/join", json=body).raise_for_status()

    def call(self, event_name: str, **values: Any) -> Answer:
        """Send an event as the page does, and wait for the answer."""
        if self._events[event_name]["queue"] is False:
            response = self.http.post(f"/gradio_api/run/{event_name}", json=self.build_body(event_name, **values))
            succeeded = response.status_code == 200
            return Answer(succeeded, response.json().get("data", []) if succeeded else [], response.text)
        self.send(event_name, **values)
        toasts = []
        for line in self.listen():
            message = json.loads(line)
            if message["msg"] == "log":
                toasts.append(message["log"])
            elif message["msg"] == "process_completed":
                output = message["output"]
                return Answer(message["success"], output.get("data", []), line, toasts)
        return Answer(False, toasts=toasts)

    def ask(self, image: Path, tag: str, **values: Any) -> str:
        """Ask what is on an image; empty if the answer is to this one, else what was told instead."""
        uploaded = name_upload(self.upload(f"{tag}.jpg", image.read_bytes()))
        answer = self.call("show_prediction", predict_image=uploaded, **values)
        # The image that can be downloaded is called as the one that was sent.
        return "" if answer.succeeded and tag in answer.text else answer.text[:300] or "no answer"

    def listen(self) -> Iterator[str]:
        """Iterate over what the server sends to this tab, until it has nothing more to say."""
        query = {"session_hash": self.session}
        with self.http.stream("GET", "/gradio_api/queue/data", params=query) as stream:
            stream.raise_for_status()
            for line in stream.iter_lines():
                if line.startswith("data:"):
                    yield line.removeprefix("data:").strip()

    def _get_value(self, component: dict[str, Any], values: dict[str, Any]) -> Any:
        name = str(component["props"].get("elem_id")).replace("-", "_")
        if name in values:
            return values[name]
        return {"run": None} if component["type"] == "browserstate" else component["props"].get("value")


def name_upload(path: str) -> dict[str, Any]:
    """The value of an image field for a file that was sent."""
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def join_class(url: str, code: str, name: str) -> httpx.Client:
    """A person's browser that has joined a class, or only looked at a server for others where there is no code."""
    http = httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS, follow_redirects=True)
    if code:
        http.get("/ftlab/join").raise_for_status()
        http.post("/ftlab/join", json={"code": code, "name": name}).raise_for_status()
    return http


def open_predict_tab(http: httpx.Client) -> Tab:
    """A tab on which the Predict tab was opened, so that the server knows which models it offers."""
    tab = Tab(http)
    tab.call("list_models")
    return tab


def run_together(works: Sequence[Callable[[], None]]) -> None:
    """Run in a thread each; the first error is raised."""
    errors = list[BaseException]()

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
