"""Import of Gradio without its writer of type stubs.

Whenever a class of a component is created, so at each start, Gradio parses its source, renders a stub and compares that
with the `.pyi` file beside the source. This is nearly half the time of its import.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType

_STUB_MODULE = "gradio.component_meta"
_STUB_FUNCTION = "create_or_modify_pyi"


class _StublessLoader(SourceFileLoader):
    """Loader of the module that writes stubs."""

    def exec_module(self, module: ModuleType) -> None:
        """Execute a module, and put a function that does nothing in place of the one that writes stubs."""
        super().exec_module(module)
        if hasattr(module, _STUB_FUNCTION):
            setattr(module, _STUB_FUNCTION, _write_no_stub)


class _StublessFinder(MetaPathFinder):
    """Finder of that module only, before the finders of the interpreter."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Find a module as the interpreter does.

        Args:
            fullname: of the module; the names of the arguments are those of the base class.
            path: of the package.
            target: module that is loaded again, if any.

        Returns:
            Its specification, with the loader of this module; None for any other module, and for one that is not loaded
            from a source file.
        """
        spec = PathFinder.find_spec(fullname, path, target) if fullname == _STUB_MODULE else None
        if spec is None or type(spec.loader) is not SourceFileLoader:
            return None
        spec.loader = _StublessLoader(fullname, spec.loader.path)
        return spec


def skip_type_stubs() -> None:
    """Let the import of Gradio, which has not begun, write no stubs; called again, do nothing."""
    if not any(isinstance(finder, _StublessFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _StublessFinder())


def _write_no_stub(_component_class: type, _class_name: str, _events: object) -> None:
    """Do nothing."""
