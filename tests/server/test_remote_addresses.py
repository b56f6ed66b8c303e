"""Addresses of other machines in a payload: refused where Gradio takes them for files, allowed in text."""

from __future__ import annotations

from typing import Any

import pytest

from ftlab.server.remote_addresses import holds_remote_file, is_address

OWN = {"127.0.0.1:7860", "lab.example"}
ADDRESSES = (
    *("http://other.example/a.png", "HTTPS://OTHER.EXAMPLE/a", "hTtP:\\\\other.example", "http:other.example"),
    *("//other.example/a.png", "\\\\other.example\\share", "/\\other.example", "ftp://other.example", "file:///etc/x"),
    *(" \thttp://other.example", "\x00//other.example", "data:image/png;base64,AA==", "s3://bucket/key", "gopher:x"),
)


def wrap(location: str, key: str = "path") -> dict[str, Any]:
    return {key: location, "meta": {"_type": "gradio.FileData"}}


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_file_named_by_an_address_is_found_wherever_it_lies(address: str) -> None:
    for key in ("path", "url"):
        for payload in (
            wrap(address, key),
            {"data": ["text", 3, wrap(address, key)]},
            {"data": [{"image": wrap(address, key), "caption": None}]},
            {"data": [[[[wrap(address, key)]]]]},
            {"event_data": {"value": {"a": {"b": [wrap(address, key)]}}}, "data": []},
            {"data": [{key: address}]},  # without Gradio's mark
            [wrap(address, key)],
        ):
            assert holds_remote_file(payload, OWN)


@pytest.mark.parametrize("address", ADDRESSES)
def test_other_text_may_hold_an_address(address: str) -> None:
    payload = {"data": [address, {"title": address}, [address], {"text": {"notes": address}}], "session_hash": address}
    assert not holds_remote_file(payload, OWN)


@pytest.mark.parametrize("path", ["/tmp/gradio/ab/cat.jpg", "cat.jpg", "C:\\pets\\cat.jpg", "~/x", "", "a b:c", "-:"])
def test_a_path_is_no_address(path: str) -> None:
    assert not is_address(path)
    assert not holds_remote_file({"data": [wrap(path)]}, OWN)


def test_the_page_sends_the_addresses_of_this_servers_files_back() -> None:
    shown = "http://127.0.0.1:7860/gradio_api/file=/tmp/cat.jpg"
    assert not holds_remote_file({"data": [{**wrap("/tmp/cat.jpg"), "url": shown}]}, OWN)
    assert not holds_remote_file(wrap("https://LAB.example/gradio_api/file=/tmp/cat.jpg", "url"), OWN)
    for address in (
        "http://127.0.0.1:7861/gradio_api/file=/tmp/cat.jpg",
        "http://x@127.0.0.1:7860/gradio_api/file=/tmp/cat.jpg",
        "http://127.0.0.1:7860/other",
        "http://127.0.0.1:7860/gradio_api/file=http://other.example",
        "ftp://127.0.0.1:7860/gradio_api/file=/tmp/cat.jpg",
        "http://[/gradio_api/file=x",
    ):
        assert holds_remote_file(wrap(address, "url"), OWN)
    assert holds_remote_file(wrap(shown), OWN), "as a path, Gradio would fetch it"


def test_a_payload_of_any_shape_and_depth_is_looked_through() -> None:
    deep: Any = wrap("http://other.example")
    for _ in range(50_000):
        deep = [deep]
    assert holds_remote_file(deep, OWN)
    shapes: tuple[Any, ...] = (
        None,
        3,
        "http://other.example",
        [],
        {},
        {"path": 3, "url": None},
        {"path": ["http://x.example"]},
    )
    for payload in shapes:
        assert not holds_remote_file(payload, OWN)
