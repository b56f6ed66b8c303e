"""The packages that networks come from. They take a second to load: only when one is needed."""

from __future__ import annotations

from types import ModuleType

from ftlab.core import lazy_import

_MODULES = {"torchvision": "torchvision.models", "timm": "timm"}


def package(source: str) -> ModuleType:
    """`torchvision.models` or `timm`, whichever is a row's source."""
    return lazy_import.module(_MODULES[source])
