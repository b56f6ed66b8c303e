"""Fetch the files of onnxruntime-web that run a model in a browser: `make web-runtime`.

    python tools/web_runtime.py

The package comes from the registry that `NPM_CONFIG_REGISTRY` names, else from the one that npm is set up with, the
public one by default. It is checked by the hash below, so a mirror is as good. Needs the standard library only.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import os
import shutil
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from ftlab.core.errors import FtlabError  # noqa: E402
from ftlab.export import web_runtime  # noqa: E402

INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""Hash of the package, as npm publishes it and lock files have it."""
MAX_PACKAGE_BYTES = 100_000_000
"""Bytes after which a download is given up; the package has 33 MB."""
TIMEOUT_SECONDS = 60.0
"""Seconds without a byte after which a download is given up."""


def find_registry(environment: Mapping[str, str] = os.environ) -> str:
    """Return the address of npm's registry, without a slash at its end.

    Args:
        environment: environment variables.

    Returns:
        The address; exits with a line if nothing names one.
    """
    # npm reads its variables in either case.
    for name in ("NPM_CONFIG_REGISTRY", "npm_config_registry"):
        if environment.get(name):
            return environment[name].rstrip("/")
    npm = shutil.which("npm", path=environment.get("PATH"))
    if npm is None:
        sys.exit("ftlab: npm is not installed. Install Node.js, or name a registry: NPM_CONFIG_REGISTRY=https://…")
    answer = subprocess.run([npm, "config", "get", "registry"], capture_output=True, text=True, check=False)
    registry = answer.stdout.strip()
    if answer.returncode or not registry.startswith(("https://", "http://")):
        sys.exit("ftlab: npm names no registry. Name one: NPM_CONFIG_REGISTRY=https://…")
    return registry.rstrip("/")


def download_package(registry: str) -> bytes:
    """Return the content of the package; exits with a line if it cannot be had complete.

    Args:
        registry: address of the registry.
    """
    name = f"onnxruntime-web-{web_runtime.WEB_RUNTIME_VERSION}.tgz"
    address = f"{registry}/onnxruntime-web/-/{name}"
    print(f"ftlab: downloading {address} (33 MB)", flush=True)
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_SECONDS) as answer:
            content: bytes = answer.read(MAX_PACKAGE_BYTES)
            expected_bytes = answer.headers.get("Content-Length")
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as cause:
        sys.exit(f"ftlab: {address} cannot be downloaded: {cause}")
    if expected_bytes and len(content) < int(expected_bytes):  # `read` with a size tells nothing of an early end
        sys.exit(
            f"ftlab: the download of {address} broke off after {len(content)} of {expected_bytes} bytes. Try again."
        )
    return content


def extract_files(package: bytes, folder: Path, integrity: str) -> None:
    """Check a package, and write its files of the runtime into a folder, beside the license.

    Exits with a line, and writes nothing, if the package is another one or lacks a file.

    Args:
        package: content of the package, a tar compressed by gzip.
        folder: where the files are written, each one atomically.
        integrity: the hash that the package must have.
    """
    actual = "sha512-" + base64.b64encode(hashlib.sha512(package).digest()).decode()
    if actual != integrity:
        sys.exit(f"ftlab: the package is not the one that was published: its hash is {actual}, not {integrity}.")
    contents: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(package), mode="r:gz") as archive:
        for name in web_runtime.WEB_RUNTIME_SHA256:
            try:
                member = archive.extractfile(f"package/dist/{name}")
            except KeyError:
                member = None
            if member is None:
                sys.exit(f"ftlab: the package has no file dist/{name}.")
            contents[name] = member.read()
    for name, content in contents.items():
        part_path = folder / f"{name}.part"
        part_path.write_bytes(content)
        part_path.replace(folder / name)


def fetch_web_runtime() -> None:
    """Fetch the files, unless they are there already."""
    folder = web_runtime.WEB_RUNTIME_FOLDER
    try:
        web_runtime.find_web_runtime(folder)
    except FtlabError:
        extract_files(download_package(find_registry()), folder, INTEGRITY)
        web_runtime.find_web_runtime(folder)
    print(f"ftlab: onnxruntime-web {web_runtime.WEB_RUNTIME_VERSION} is in {folder}", flush=True)


if __name__ == "__main__":
    fetch_web_runtime()
