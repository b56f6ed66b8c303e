"""Lazy import of the libraries that define architectures: loading one takes a part of a second.

Left alone, both also load PyTorch's compiler, which takes longer than all the rest, for functions that no training of
ours calls: torchvision for one question in `roi_align`, timm to exempt functions of its NaFlexViT from compilation.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from ftlab.core import lazy_import

_MODULE_NAMES = {"torchvision": "torchvision.models", "timm": "timm"}
"""Module to import by `BackboneSpec.source`."""
_COMPILER, _COMPILER_UTILS = "torch._dynamo", "torch._dynamo.utils"
_import_lock = threading.RLock()
"""Held while the compiler is deferred, so that no second thread restores what the first one still needs."""


def import_library(source: str) -> ModuleType:
    """Return `torchvision.models` or `timm`, by a backbone's `source`."""
    name = _MODULE_NAMES[source]
    with _import_lock, defer_compiler():
        return lazy_import.import_module(name)


@contextmanager
def defer_compiler() -> Iterator[None]:
    """Let what is imported meanwhile load PyTorch's compiler only where it is used; nothing changes if it is loaded.

    Yields:
        Nothing.
    """
    if _COMPILER in sys.modules:
        yield
        return
    import torch.compiler

    disable = torch.compiler.disable
    placeholder = _CompilerUtils(_COMPILER_UTILS)
    sys.modules[_COMPILER_UTILS] = placeholder
    torch.compiler.disable = functools.partial(_disable_later, disable)
    try:
        yield
    finally:
        torch.compiler.disable = disable
        placeholder.uninstall()


class _CompilerUtils(ModuleType):
    """Placeholder of `torch._dynamo.utils`; the module itself is loaded at the first use of any other name."""

    @staticmethod
    def is_compile_supported(device_type: Any) -> Any:
        """Return what the function of this name in `torch._dynamo.utils` returns."""
        import torch._dynamo

        return torch._dynamo.utils.is_compile_supported(device_type)

    # As the function itself is marked: the compiler takes its result for a constant.
    is_compile_supported._dynamo_marked_constant = True  # type: ignore[attr-defined]

    def uninstall(self) -> None:
        """Remove the placeholder from the imported modules, unless it was replaced."""
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]

    def __getattr__(self, name: str) -> Any:
        """Return a name of the module, for example to another thread that imports the compiler meanwhile.

        Raises:
            AttributeError: the name is one that the import system asks for.
        """
        if name.startswith("__"):
            raise AttributeError(name)
        self.uninstall()
        return getattr(lazy_import.import_module(self.__name__), name)


def _disable_later(
    disable: Callable[..., Any], function: Callable[..., Any] | None = None, *options: Any, **named_options: Any
) -> Any:
    """Exempt a function from compilation as `torch.compiler.disable` does, but load the compiler only if it is in use.

    Args:
        disable: `torch.compiler.disable`.
        function: to be exempted; None for a decorator with options.
        *options: of `disable`.
        **named_options: of `disable`.

    Returns:
        The function, or the decorator.
    """
    if function is None:
        return functools.partial(_disable_later, disable, *options, **named_options)

    @functools.wraps(function)
    def run_uncompiled(*args: Any, **kwargs: Any) -> Any:
        exempted = disable(function, *options, **named_options) if _COMPILER in sys.modules else function
        return exempted(*args, **kwargs)

    run_uncompiled._torchdynamo_disable = True  # type: ignore[attr-defined]
    return run_uncompiled
