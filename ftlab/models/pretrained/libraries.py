"""Lazy import of the libraries that define architectures: loading one takes a second."""

from __future__ import annotations

from types import ModuleType

from ftlab.core import lazy_import

_MODULE_NAMES = {"torchvision": "torchvision.models", "timm": "timm"}
"""Module to import by `BackboneSpec.source`."""


def import_library(source: str) -> ModuleType:
    """Return `torchvision.models` or `timm`, by a backbone's `source`."""
    return lazy_import.import_module(_MODULE_NAMES[source])
