"""A server with the endpoints for programs, shared by the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ftlab.runs.directory import Run
from ftlab.server.people.rights import ProfileKind
from tests.support.endpoint_server import EndpointServer, declare_places, serve_endpoints, train_run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with train_run(tmp_path_factory.mktemp("trained")) as run:
        yield run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("place")


@pytest.fixture(autouse=True)
def kept_places(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The servers of all tests keep what was sent to them."""
    declare_places(place, monkeypatch)


@pytest.fixture(scope="module")
def local(trained: Run, place: Path) -> Iterator[EndpointServer]:
    """A server for one person, which also has the tools."""
    with serve_endpoints(place, trained, ProfileKind.LOCAL, has_mcp=True) as server:
        yield server
