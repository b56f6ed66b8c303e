"""Build the source distribution and the wheel into `dist/`, and try the wheel as a new user would: `make wheel`.

    python tools/wheel.py           build
    python tools/wheel.py --test    build, install the wheel into a clean environment, and train with it

Needs the standard library only; `build` and the package's dependencies are installed into temporary environments.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
BUILD_REQUIREMENTS = ("build==1.6.1",)


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
    shutil.rmtree(DIST, ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch:
        python = create_environment(Path(scratch) / "build")
        install_packages(python, *BUILD_REQUIREMENTS)
        subprocess.run([str(python), "-m", "build", "--outdir", str(DIST), str(ROOT)], check=True)
    (wheel,) = DIST.glob("*.whl")
    return wheel


def try_wheel(wheel: Path) -> None:
    """Install a wheel into a clean environment and train with it, away from the sources.

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
        train = ["train", "--sample", "shapes", "--epochs", "1", "--runs", "runs"]
        subprocess.run([str(command), *train], cwd=folder, check=True, env={**os.environ, "FTLAB_HOME": scratch})
        print(f"ftlab: {wheel.name} trains in a clean environment", flush=True)


if __name__ == "__main__":
    built_wheel = build_package()
    if "--test" in sys.argv[1:]:
        try_wheel(built_wheel)
