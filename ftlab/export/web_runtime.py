"""The files of onnxruntime-web, which run a model in a browser: fetched by `make web-runtime`, not committed."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ftlab.core.errors import FtlabError

WEB_RUNTIME_VERSION = "1.30.0"
"""Version of onnxruntime-web that the pages of ftlab are tested with."""
WEB_RUNTIME_FOLDER = Path(__file__).with_name("onnxruntime_web")
"""Folder of the files; a release wheel has them."""
WEB_RUNTIME_SHA256 = {
    "ort.wasm.min.js": "faece07e84faa9001f5104bbe4e5c70861d06cb2376a0dea1fa0ad33a67adc81",
    "ort-wasm-simd-threaded.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
"""SHA-256 of each file, in hexadecimal digits. The other files of the package belong to other ways to run it."""
WEB_RUNTIME_LICENSES = ("LICENSE", "ThirdPartyNotices.txt")
"""License and notices of what is compiled into the runtime, which go wherever its files go.

npm's package has neither; they are committed as ONNX Runtime's own package of this version has them.
"""


def find_web_runtime(folder: Path | None = None) -> Path:
    """Return the folder with the files of `WEB_RUNTIME_SHA256` and `WEB_RUNTIME_LICENSES`, after checking them.

    Args:
        folder: where they are; None: `WEB_RUNTIME_FOLDER`.

    Returns:
        The folder.

    Raises:
        FtlabError: a file is missing, or is not the one of this version.
    """
    folder = folder or WEB_RUNTIME_FOLDER
    for name, expected_digest in WEB_RUNTIME_SHA256.items():
        try:
            content = (folder / name).read_bytes()
        except FileNotFoundError as cause:
            raise FtlabError("web_runtime.missing", version=WEB_RUNTIME_VERSION, file=folder / name) from cause
        if hashlib.sha256(content).hexdigest() != expected_digest:
            raise FtlabError("web_runtime.changed", version=WEB_RUNTIME_VERSION, file=folder / name)
    return folder
