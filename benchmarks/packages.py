"""Optional packages that ftlab is compared with."""

from __future__ import annotations

from importlib.util import find_spec


def describe_missing(module: str, requirement: str) -> str:
    """Return what to install, if a module cannot be found.

    Args:
        module: name of a module.
        requirement: what pip installs for it.

    Returns:
        A sentence; empty if the module is there.
    """
    return "" if find_spec(module) else f"{module} is not installed; install it by: pip install {requirement}"
