"""The package that `--mcp` needs: missing, of another version, or right."""

from __future__ import annotations

from importlib import metadata

import pytest

from ftlab.core.errors import FtlabError
from ftlab.server.listening.mcp_package import check_mcp_package
from ftlab.ui import serve


def install(version: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the package have this version, or be missing."""
    find = metadata.version

    def find_version(name: str) -> str:
        if name != "mcp":
            return find(name)
        if version is None:
            raise metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(metadata, "version", find_version)


@pytest.mark.parametrize("version", ["1.21.0", "1.30.0"])
def test_version_one_is_right(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    install(version, monkeypatch)
    check_mcp_package()


@pytest.mark.parametrize(("version", "reason"), [(None, "not installed"), ("2.3.0", "2.3.0 is installed")])
def test_any_other_is_refused_in_one_line_with_the_command_that_mends_it(
    version: str | None, reason: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(version, monkeypatch)
    with pytest.raises(FtlabError, match=reason):
        check_mcp_package()
    assert serve.serve(["--mcp", "--port", "0", "--no-browser"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f'pip install "gradio[mcp]=={metadata.version("gradio")}"' in told
