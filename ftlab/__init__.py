"""ftlab: a fine-tuning lab for images in the browser. The Python API is `ftlab.api`, its names are available here."""

import os
from typing import TYPE_CHECKING, Any

from ftlab.core import user_dirs

if TYPE_CHECKING:
    from ftlab.api import (
        ConfigError,
        DataError,
        Explanation,
        FtlabError,
        ImageError,
        Model,
        Prediction,
        RunError,
        WeightsError,
        load,
        scan,
        train,
    )

__all__ = [
    "ConfigError",
    "DataError",
    "Explanation",
    "FtlabError",
    "ImageError",
    "Model",
    "Prediction",
    "RunError",
    "WeightsError",
    "__version__",
    "load",
    "scan",
    "train",
]

__version__ = "0.1.0"

# PyTorch's threads synchronize thousands of times a second, and GCC's OpenMP busy-waits at each barrier: when another
# program (the browser, for example) needed one of two cores, a training took five times as long. With a limited spin
# count they sleep after some microseconds. The variable is read when PyTorch is loaded, so it must be set here, before
# any import of torch; a value that the user has set is kept.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")

# huggingface_hub sends telemetry unless this is set, and so does onnxruntime 1.32, which also writes an identifier of
# the machine. They read the variables when they are imported.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# Before any import of a library that has a cache.
user_dirs.redirect_library_caches()


def __getattr__(name: str) -> Any:
    """Return a name of the API, which is loaded at its first use (PEP 562), so that `import ftlab` stays light.

    Raises:
        AttributeError: the API has no such name.
    """
    if name in __all__:
        from ftlab import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the names of the package and of its API, for completion."""
    return sorted({name for name in globals() if name.startswith("__")} | set(__all__))
