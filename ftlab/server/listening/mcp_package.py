"""The optional package by which Gradio serves the Model Context Protocol, looked at before a server listens."""

from __future__ import annotations

from importlib import metadata

from ftlab.core.errors import FtlabError

PACKAGE_NAME = "mcp"
"""Name of the package."""
SUPPORTED_MAJOR = "1"
"""With version 2, Gradio leaves its tools out and goes on without them."""


def check_mcp_package(*, is_needed: bool = True) -> None:
    """Check that the package is there in a version that Gradio uses.

    Args:
        is_needed: the server offers tools; else nothing is checked.

    Raises:
        FtlabError: it is missing, or of another major version.
    """
    if not is_needed:
        return
    # As Gradio's extra has it: with the versions of other packages that go with it.
    command = f'pip install "gradio[mcp]=={metadata.version("gradio")}"'
    try:
        version = metadata.version(PACKAGE_NAME)
    except metadata.PackageNotFoundError as cause:
        raise FtlabError("page.mcp_missing", command=command) from cause
    if version.partition(".")[0] != SUPPORTED_MAJOR:
        raise FtlabError("page.mcp_version", version=version, wanted=SUPPORTED_MAJOR, command=command)
