"""Sign-in with an account, against a provider on this machine: who one is afterwards, and what is refused."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from ftlab.runs import run_quota, trash
from ftlab.server.accounts.account_store import AccountStore
from ftlab.server.class_pages import sign_in_routes
from ftlab.server.class_pages.class_routes import ClassRoutes, get_visitor
from ftlab.server.class_pages.sign_in_routes import SignInRoutes
from ftlab.server.middleware import AccessMiddleware
from ftlab.server.people.membership import Membership
from ftlab.server.people.rights import Role
from ftlab.server.profile import create_profile
from tests.support import fabricated_runs as fab
from tests.support.openid_provider import CLIENT_SECRET, TOKEN, OpenIdProvider, serve_provider

START, CALLBACK, OUT = "/login/huggingface", "/login/callback", "/logout"


class Space:
    """A Space whose app says who is looking at it."""

    def __init__(self, runs_dir: Path, environment: dict[str, str]) -> None:
        self.profile = create_profile(runs_dir=runs_dir, environment=environment)
        self.membership, self.accounts = Membership(self.profile.kind, runs_dir), AccountStore()
        middleware = Middleware(
            AccessMiddleware,
            profile=self.profile,
            membership=self.membership,
            accounts=self.accounts,
            visitor_key=b"k" * 32,
        )
        routes = list(ClassRoutes(self.membership).list_routes())
        if self.profile.sign_in is not None:
            own_routes = SignInRoutes(self.profile, self.profile.sign_in, self.accounts, self.membership)
            routes += own_routes.list_routes()
        self.app = Starlette(routes=[*routes, Route("/{path:path}", tell_person)], middleware=[middleware])

    def open_browser(self) -> TestClient:
        browser = TestClient(self.app, base_url="https://someone-ftlab.hf.space", follow_redirects=False)
        browser.get("/")
        return browser


async def tell_person(request: Request) -> JSONResponse:
    visitor = get_visitor(request)
    person = visitor.person
    return JSONResponse({"owner": person.owner, "role": person.role.value, "account": visitor.account is not None})


@pytest.fixture(scope="module")
def provider() -> Iterator[OpenIdProvider]:
    with serve_provider() as server:
        yield server


@pytest.fixture(autouse=True)
def agreeable(provider: OpenIdProvider) -> None:
    provider.subject, provider.name, provider.lifetime, provider.granted = "5f1", "ann-hf", 3600, None
    provider.statuses.clear()
    provider.asked.clear()


@pytest.fixture
def space(provider: OpenIdProvider, tmp_path: Path) -> Space:
    return Space(tmp_path / "runs", provider.environment)


def who(browser: TestClient) -> dict[str, Any]:
    answer: dict[str, Any] = browser.get("/").json()
    return answer


def sign_in(browser: TestClient, provider: OpenIdProvider) -> None:
    answer = browser.get(f"{CALLBACK}?{provider.agree(browser.get(START).headers['location'])}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_whoever_signs_in_is_the_account_on_every_device(space: Space, provider: OpenIdProvider) -> None:
    laptop, phone = space.open_browser(), space.open_browser()
    assert not who(laptop)["account"]
    sign_in(laptop, provider)
    sign_in(phone, provider)
    account_owner = run_quota.make_owner("hf:5f1")
    assert who(laptop) == who(phone) == {"owner": account_owner, "role": "visitor", "account": True}
    provider.subject = "6a2"
    other = space.open_browser()
    sign_in(other, provider)
    assert who(other)["owner"] != account_owner


@pytest.mark.parametrize(
    ("query", "granted", "asked", "allowed"),
    [
        ("", None, "openid profile", ""),
        ("?push=1", None, "openid profile contribute-repos", "may push"),
        ("?push=1", "openid profile", "openid profile contribute-repos", ""),
        ("?push=1", "openid manage-repos", "openid profile contribute-repos", "may push"),
        ("?push=1", 7, "openid profile contribute-repos", ""),
    ],
)
def test_only_whoever_wants_to_push_is_asked_for_it_and_may_decline(
    space: Space, provider: OpenIdProvider, query: str, granted: object, asked: str, allowed: str
) -> None:
    provider.granted = granted
    browser = space.open_browser()
    sent_back = provider.agree(browser.get(START + query).headers["location"])
    assert provider.scopes == asked
    assert browser.get(f"{CALLBACK}?{sent_back}").status_code == 303
    account = space.accounts.find_account(browser.cookies["ftlab_id"].partition(".")[0])
    assert account is not None
    assert account.can_push is (allowed == "may push")


def test_what_was_trained_in_this_browser_before_goes_along(space: Space, provider: OpenIdProvider) -> None:
    browser, other = space.open_browser(), space.open_browser()
    runs = [fab.make(space.profile.runs_dir, fab.story()) for _ in range(3)]
    for run, owner in zip(runs, (browser, browser, other), strict=True):
        run_quota.write_owner(run, who(owner)["owner"])
    runs[1] = trash.discard_runs([runs[1]])[0]
    sign_in(browser, provider)
    assert [run_quota.read_owner(run) for run in runs] == [run_quota.make_owner("hf:5f1")] * 2 + [who(other)["owner"]]


def test_who_leads_goes_on_to_lead(space: Space, provider: OpenIdProvider) -> None:
    browser = space.open_browser()
    fields = {"code": space.membership.teacher_code, "name": "Lee"}
    assert browser.post("/ftlab/join", json=fields).status_code == 200
    sign_in(browser, provider)
    assert who(browser)["role"] == Role.TEACHER.value


def test_after_signing_out_one_is_a_visitor_again(space: Space, provider: OpenIdProvider) -> None:
    browser, phone = space.open_browser(), space.open_browser()
    for device in (browser, phone):
        sign_in(device, provider)
    assert browser.get(OUT).status_code == 405, "no picture of another site signs anybody out"
    assert browser.post(OUT, json={}, headers={"origin": "https://evil.example"}).status_code == 403
    assert who(browser)["account"]
    assert browser.post(OUT, json={}).json() == {"location": "/"}
    assert not who(browser)["account"]
    assert who(browser)["owner"] != run_quota.make_owner("hf:5f1")
    assert who(phone)["account"], "the other device stays signed in"


def test_whoever_knew_the_cookie_before_is_not_the_account_afterwards(space: Space, provider: OpenIdProvider) -> None:
    browser, thief = space.open_browser(), space.open_browser()
    thief.cookies.update(browser.cookies)
    assert who(thief) == who(browser)
    sign_in(browser, provider)
    assert who(browser)["account"]
    assert not who(thief)["account"]


def test_when_the_token_ends_one_is_a_visitor_again(
    space: Space, provider: OpenIdProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = space.open_browser()
    sign_in(browser, provider)
    monkeypatch.setattr("ftlab.server.accounts.account_store.time.monotonic", lambda: 1e12)
    assert not who(browser)["account"]


def test_a_sign_in_of_another_browser_holds_nothing(space: Space, provider: OpenIdProvider) -> None:
    attacker, victim = space.open_browser(), space.open_browser()
    sent_back = provider.agree(attacker.get(START).headers["location"])
    assert victim.get(f"{CALLBACK}?{sent_back}").status_code == 400
    assert not who(victim)["account"]
    assert attacker.get(f"{CALLBACK}?{sent_back}").status_code == 400, "the state holds once, whoever brings it"
    assert "/token" not in provider.asked


@pytest.mark.parametrize("state", ["", "state=", "state=x", "state=%00", f"state={'x' * 5000}"])
def test_a_bad_state_signs_nobody_in(space: Space, provider: OpenIdProvider, state: str) -> None:
    browser = space.open_browser()
    code = parse_qs(provider.agree(browser.get(START).headers["location"]))["code"][0]
    answer = browser.get(f"{CALLBACK}?code={code}&{state}")
    assert answer.status_code == 400
    assert "sign in again" in answer.text
    assert not who(browser)["account"]


def test_a_sign_in_holds_once_and_ten_minutes(
    space: Space, provider: OpenIdProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = space.open_browser()
    sent_back = provider.agree(browser.get(START).headers["location"])
    assert browser.get(f"{CALLBACK}?{sent_back}").status_code == 303
    assert browser.get(f"{CALLBACK}?{sent_back}").status_code == 400
    monkeypatch.setattr(sign_in_routes, "SIGN_IN_SECONDS", -1.0)
    late = provider.agree(browser.get(START).headers["location"])
    assert browser.get(f"{CALLBACK}?{late}").status_code == 400


def test_whoever_declines_stays_a_visitor(space: Space) -> None:
    browser = space.open_browser()
    state = parse_qs(urlsplit(browser.get(START).headers["location"]).query)["state"][0]
    answer = browser.get(f"{CALLBACK}?error=access_denied&error_description=%3Cscript%3E&state={state}")
    assert answer.status_code == 403
    assert "Nobody was signed in" in answer.text
    assert "<script>alert" not in answer.text
    assert "access_denied" not in answer.text
    assert who(browser)["role"] == "visitor"


@pytest.mark.parametrize(
    ("part", "values"),
    [
        *((part, {}) for part in ("token", "me")),
        *(("", {"subject": subject}) for subject in (None, "", 7, "x" * 1000)),
    ],
)
def test_a_provider_that_does_not_answer_well_signs_nobody_in(
    space: Space, provider: OpenIdProvider, part: str, values: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    browser = space.open_browser()
    sent_back = provider.agree(browser.get(START).headers["location"])
    if part:
        provider.statuses[part] = 503
    for name, value in values.items():
        setattr(provider, name, value)
    assert browser.get(f"{CALLBACK}?{sent_back}").status_code == 502
    assert not who(browser)["account"]
    assert len(caplog.records) == 1
    assert TOKEN not in caplog.text
    assert CLIENT_SECRET not in caplog.text


def test_a_provider_that_is_away_is_told_and_asked_again_later(space: Space, provider: OpenIdProvider) -> None:
    provider.statuses["well-known"] = 503
    browser = space.open_browser()
    assert browser.get(START).status_code == 502
    provider.statuses.clear()
    sign_in(browser, provider)


def test_a_code_that_the_provider_does_not_know_signs_nobody_in(space: Space) -> None:
    browser = space.open_browser()
    state = parse_qs(urlsplit(browser.get(START).headers["location"]).query)["state"][0]
    assert browser.get(f"{CALLBACK}?code=made-up&state={state}").status_code == 502
    assert not who(browser)["account"]


def test_without_the_cookie_nobody_starts_a_sign_in(space: Space) -> None:
    program = TestClient(space.app, base_url="https://someone-ftlab.hf.space", follow_redirects=False)
    assert program.get(START).status_code == 400


def test_no_other_cookie_signs_anybody_in(space: Space, provider: OpenIdProvider) -> None:
    """Gradio's own sign-in believes a cookie `session`; a wrong `ftlab_id` is that of a stranger."""
    signed_in = space.open_browser()
    sign_in(signed_in, provider)
    identity = signed_in.cookies["ftlab_id"].partition(".")[0]
    for cookie in ("session=eyJvYXV0aF9pbmZvIjp7fX0=.x.y", f"ftlab_id={identity}", f"ftlab_id={identity}.x"):
        browser = TestClient(space.app, base_url="https://someone-ftlab.hf.space", headers={"cookie": cookie})
        assert not who(browser)["account"]


def test_the_token_reaches_no_browser_and_no_log(
    space: Space, provider: OpenIdProvider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="ftlab")
    browser = space.open_browser()
    start = browser.get(START)
    end = browser.get(f"{CALLBACK}?{provider.agree(start.headers['location'])}")
    told = "".join(f"{answer.headers}{answer.text}" for answer in (start, end, browser.get("/")))
    for secret in (TOKEN, CLIENT_SECRET):
        assert secret not in told + str(browser.cookies.jar) + caplog.text
    files = [path.read_bytes() for path in space.profile.runs_dir.rglob("*") if path.is_file()]
    assert files
    assert not any(TOKEN.encode() in content for content in files)


def test_the_provider_sends_browsers_back_to_the_public_name_of_the_space(space: Space) -> None:
    headers = {"host": "evil.example", "x-forwarded-host": "evil.example"}
    query = parse_qs(urlsplit(space.open_browser().get(START, headers=headers).headers["location"]).query)
    assert query["redirect_uri"] == ["https://someone-ftlab.hf.space/login/callback"]
    for target in ("_target_url=https://evil.example", "next=//evil.example"):
        answer = space.open_browser().get(f"{START}?{target}")
        assert "evil" not in answer.headers["location"]


def test_a_provider_with_tls_names_no_address_without(tmp_path: Path, provider: OpenIdProvider) -> None:
    space = Space(tmp_path, {**provider.environment, "OPENID_PROVIDER_URL": provider.url.replace("http:", "https:")})
    assert space.open_browser().get(START).status_code == 502


def test_sign_ins_under_way_are_bounded_by_visitor(space: Space, provider: OpenIdProvider) -> None:
    patient, flood = space.open_browser(), space.open_browser()
    sent_back = provider.agree(patient.get(START).headers["location"])
    urls = [flood.get(START).headers["location"] for _ in range(sign_in_routes.MAX_STARTED_BY_VISITOR + 3)]
    assert flood.get(f"{CALLBACK}?{provider.agree(urls[0])}").status_code == 400
    assert flood.get(f"{CALLBACK}?{provider.agree(urls[-1])}").status_code == 303
    assert patient.get(f"{CALLBACK}?{sent_back}").status_code == 303


def test_without_the_variables_there_are_no_such_routes(tmp_path: Path) -> None:
    browser = Space(tmp_path, {"SPACE_ID": "someone/ftlab"}).open_browser()
    for path in (START, CALLBACK):
        assert browser.get(path).status_code == 404
    assert browser.post(OUT, json={}).status_code == 404
