"""The packages that networks come from. They take a second to load: only when one is needed."""

from __future__ import annotations

from types import ModuleType

from ftlab.core import lazy_import

_MODULE_NAMES = {"torchvision": "torchvision.models", "timm": "timm"}


def import_library(source: str) -> ModuleType:
    """`torchvision.models` or `timm`, whichever is a row's source."""
    return lazy_import.import_module(_MODULE_NAMES[source])
