"""The address of a cluster is refused in one line, before a run exists, where trainings could not go there."""

from __future__ import annotations

import os

import pytest

from ftlab.core.errors import ConfigError
from ftlab.runs.cluster import address
from ftlab.runs.cluster.address import CLUSTER_ENV, check_address, declare_cluster


@pytest.mark.parametrize("good", ["http://10.0.0.5:8265", "https://head.example:8265", "auto"])
def test_a_dashboard_and_the_current_cluster_are_addresses(good: str) -> None:
    check_address(good)


def test_a_client_address_is_refused_with_the_reason_and_the_right_one() -> None:
    with pytest.raises(ConfigError) as refusal:
        check_address("ray://head:10001")
    assert "http://head:8265" in str(refusal.value)
    assert "would end with it" in str(refusal.value)


@pytest.mark.parametrize("bad", ["head:8265", "http://", "ftp://head", "10.0.0.5"])
def test_anything_else_is_no_address(bad: str) -> None:
    with pytest.raises(ConfigError, match="no address of a cluster"):
        check_address(bad)


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match=r"pip install"):
        declare_cluster("auto")


def test_the_address_holds_for_what_is_queued_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "find_spec", lambda _name: object())
    monkeypatch.setenv(CLUSTER_ENV, "")
    declare_cluster(None)
    assert os.environ[CLUSTER_ENV] == ""
    declare_cluster("http://head:8265")
    assert os.environ[CLUSTER_ENV] == "http://head:8265"
