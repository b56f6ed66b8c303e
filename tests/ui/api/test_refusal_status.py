"""HTTP status of refused calls, as curl and a browser's script see it."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from ftlab.core.errors import RunError
from ftlab.ui.api.refusal_status import RefusalStatusMiddleware
from ftlab.ui.train.actions import TrainActions
from tests.support.endpoint_server import EndpointServer


@pytest.mark.parametrize(
    ("code", "status"),
    [("run.missing", 404), ("run.not_yours", 403), ("run.queue_full", 429), ("run.busy", 400), ("config.choice", 400)],
)
def test_the_status_says_whose_mistake_it_is_and_the_body_which(
    local: EndpointServer, code: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise RunError(code, **dict.fromkeys(("run", "folder", "limit", "name", "value", "choices"), "x"))

    monkeypatch.setattr(TrainActions, "get_run", refuse)
    answered_status, answer = local.call("host", "status", "x")
    assert (answered_status, answer["title"]) == (status, code)
    assert answer["error"]


def test_an_error_that_no_handler_has_told_keeps_its_status() -> None:
    async def fail(_request: Request) -> Response:
        return Response(status_code=500)

    app = Starlette(routes=[Route("/", fail)], middleware=[Middleware(RefusalStatusMiddleware)])
    assert TestClient(app).get("/").status_code == 500
