"""Build the source distribution and the wheel into `dist/`, and try the wheel as a new user would: `make wheel`.

    python tools/wheel.py           build
    python tools/wheel.py --test    build, install the wheel into a clean environment, and train with it

The files of onnxruntime-web are fetched first (`tools/web_runtime.py`), since the wheel contains them.
Needs the standard library only; `build` and the package's dependencies are installed into temporary environments.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from ftlab.export import web_runtime  # noqa: E402
from tools.web_runtime import fetch_web_runtime  # noqa: E402

DIST = ROOT / "dist"
BUILD_REQUIREMENTS = ("build==1.6.1",)
PAGE_FILES = ("ftlab/export/web_page/static/*", "ftlab/export/space_format/files/*", "ftlab/inference/*.js")
"""The files of an exported web page and of an exported Space."""
START_SECONDS = 120.0
"""Seconds that the page of a new installation has to answer: everything is read from the disk for the first time."""


def create_environment(folder: Path) -> Path:
    """Return the path of the Python of a new virtual environment."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def install_packages(python: Path, *requirements: str) -> None:
    """Install packages into the environment of a Python."""
    options = ("--quiet", "--disable-pip-version-check")
    subprocess.run([str(python), "-m", "pip", "install", *options, *requirements], check=True)


def build_package() -> Path:
    """Build the source distribution, and the wheel from it, into an empty `dist/`.

    Returns:
        Path of the wheel.
    """
    fetch_web_runtime()
    shutil.rmtree(DIST, ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch:
        python = create_environment(Path(scratch) / "build")
        install_packages(python, *BUILD_REQUIREMENTS)
        subprocess.run([str(python), "-m", "build", "--outdir", str(DIST), str(ROOT)], check=True)
    (wheel,) = DIST.glob("*.whl")
    check_content(wheel)
    return wheel


def check_content(wheel: Path) -> None:
    """Exit with a line if a wheel lacks a file of onnxruntime-web, its licenses, or an exported page.

    Args:
        wheel: path of the file.
    """
    runtime_names = (*web_runtime.WEB_RUNTIME_SHA256, *web_runtime.WEB_RUNTIME_LICENSES)
    paths = [web_runtime.WEB_RUNTIME_FOLDER / name for name in runtime_names]
    paths += [path for pattern in PAGE_FILES for path in sorted(ROOT.glob(pattern))]
    names = [path.relative_to(ROOT).as_posix() for path in paths]
    with zipfile.ZipFile(wheel) as archive:
        missing = [name for name in names if name not in archive.namelist()]
    if missing:
        sys.exit(f"ftlab: {wheel} lacks {', '.join(missing)}.")


def try_wheel(wheel: Path) -> None:
    """Install a wheel into a clean environment, train, predict and open the page with it, away from the sources.

    The versions are those of `requirements.txt`, which the suite has passed with.

    Args:
        wheel: path of the file.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        python = create_environment(folder / "clean")
        install_packages(python, "--constraint", str(ROOT / "requirements.txt"), str(wheel))
        command = python.with_name("ftlab.exe" if os.name == "nt" else "ftlab")
        subprocess.run([str(command), "--help"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        environment = {**os.environ, "FTLAB_HOME": scratch}
        train = ["train", "--sample", "shapes", "--epochs", "1", "--runs", "runs"]
        subprocess.run([str(command), *train], cwd=folder, check=True, env=environment)
        image = next((folder / "samples").rglob("pictures/test/*/*.jpg"))
        subprocess.run([str(command), "predict", "latest", str(image)], cwd=folder, check=True, env=environment)
        runtime = "from ftlab.export.web_runtime import find_web_runtime; find_web_runtime()"
        subprocess.run([str(python), "-c", runtime], cwd=folder, check=True)
        ask_page(command, folder, environment)
        print(f"ftlab: {wheel.name} trains, predicts and opens its page in a clean environment", flush=True)


def ask_page(command: Path, folder: Path, environment: dict[str, str]) -> None:
    """Start the page away from any checkout, ask for it, and end it; exit with a line if it does not answer.

    Args:
        command: path of the command `ftlab`.
        folder: working directory.
        environment: environment variables.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen([str(command), "app", "--no-browser", "--port", str(port)], cwd=folder, env=environment)
    try:
        deadline = time.monotonic() + START_SECONDS
        while server.poll() is None and time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=START_SECONDS) as answer:
                    if "ftlab" in answer.read().decode():
                        return
            except urllib.error.URLError:
                time.sleep(0.5)
        sys.exit("ftlab: the page of the installed wheel did not answer.")
    finally:
        server.terminate()
        server.wait(timeout=60)


if __name__ == "__main__":
    built_wheel = build_package()
    if "--test" in sys.argv[1:]:
        try_wheel(built_wheel)
