"""Create the virtual environment with the right packages, and clean up: what the Makefile needs on every system.

    python tools/environment.py install .venv app     packages of the app
    python tools/environment.py install .venv test    packages of the tests as well
    python tools/environment.py install .venv app wheels    the same without a network, from a folder of packages
    python tools/environment.py download wheels       fill such a folder
    … --torch cpu        after install or download: PyTorch's build of that name (cpu, cu130 …)
    python tools/environment.py clean                 remove caches

Runs before anything is installed, and possibly on a Python that is too old: standard library only.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = {"app": "requirements.txt", "test": "requirements-dev.txt"}
TORCH_INDEX = "https://download.pytorch.org/whl/{build}"
"""Package index of each build of PyTorch."""
OLDEST = (3, 11)
"""Oldest version of Python that ftlab runs on."""

if sys.version_info < OLDEST:
    # At the top, before anything below needs a newer Python.
    current_python = f"{sys.executable} is {sys.version.split()[0]}"
    sys.exit(
        f"ftlab needs Python 3.11 or newer; {current_python}. "
        "Install a newer one, or name it: make app PYTHON=python3.12"
    )


def install(venv: Path, what: str, wheel_folder: "Path | None" = None, torch_build: str = "") -> None:
    """Install the requirements into a virtual environment, and write the stamp files that make reads.

    The environment is created if it is missing or broken.

    Args:
        venv: its folder; an environment with a Python that is new enough is used as it is.
        what: `app` or `test`.
        wheel_folder: folder of packages, which are then the only ones; None: those of the package index.
        torch_build: see `build_torch_command`; not used with a folder of packages, which has one build.
    """
    python = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not _works(python):
        # `venv --clear` below deletes the content of the folder.
        if venv.exists() and any(venv.iterdir()) and not (venv / "pyvenv.cfg").exists():
            sys.exit(f"ftlab: {venv} holds other things than a virtual environment. Name another folder.")
        _say(f"Making a virtual environment in {venv} with Python {sys.version.split()[0]}")
        _run(sys.executable, "-m", "venv", "--clear", str(venv))
    _say(f"Installing {REQUIREMENTS[what]} (torch is large: the first time takes a few minutes)")
    # The tests import a part of the packages, so compiling all of them to bytecode would take longer than it saves.
    options = ["--no-compile"] if what == "test" else []
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if wheel_folder is not None:
        if not wheel_folder.is_dir():
            sys.exit(f"ftlab: there is no folder {wheel_folder}. Fill it with `make wheels` where there is a network.")
        options += ["--no-index", "--find-links", str(wheel_folder)]
    elif torch_build:
        # First: what is installed then satisfies the requirements, and is not replaced.
        _run(*build_torch_command([*pip, *options], torch_build))
    _run(*pip, *options, "-r", REQUIREMENTS[what])
    # Only after a complete installation: make repeats a target without its stamp.
    for stamp in {"app": [".app"], "test": [".app", ".test"]}[what]:
        (venv / stamp).touch()


def build_torch_command(pip: "list[str]", torch_build: str) -> "list[str]":
    """Return the command that gets one build of torch and torchvision, in the versions of the requirements.

    Args:
        pip: the command of pip, with its options.
        torch_build: name of a build on PyTorch's own index (`cpu`, `cu130`), or the address of another index.

    Returns:
        The words of the command.
    """
    lines = (ROOT / REQUIREMENTS["app"]).read_text(encoding="utf-8").splitlines()
    pins = [line.split("#")[0].strip() for line in lines if line.startswith(("torch==", "torchvision=="))]
    index = torch_build if "://" in torch_build else TORCH_INDEX.format(build=torch_build)
    return [*pip, "--index-url", index, *pins]


def download(wheel_folder: Path, torch_build: str = "") -> None:
    """Fill a folder with all packages of the app, for machines of this kind without a network.

    Args:
        wheel_folder: the folder; what is there already is not fetched again.
        torch_build: see `build_torch_command`.
    """
    size = "" if torch_build else " (about 3 GB on Linux)"
    _say(f"Downloading the packages of requirements.txt to {wheel_folder}{size}")
    # Built where there is no wheel, so that nothing needs building without a network.
    pip = [sys.executable, "-m", "pip", "wheel", "--disable-pip-version-check", "--wheel-dir", str(wheel_folder)]
    if torch_build:
        _run(*build_torch_command(pip, torch_build))
        # A version with a local label such as 2.15.0+cpu counts as newer than 2.15.0, and so is preferred below.
        pip += ["--find-links", str(wheel_folder)]
    _run(*pip, "-r", REQUIREMENTS["app"])


def clean() -> None:
    """Remove caches and build products; runs and the virtual environment stay."""
    for name in (
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
        ".gradio",
        "build",
        "dist",
        "site",
        "htmlcov",
        "test-screenshots",
    ):
        shutil.rmtree(ROOT / name, ignore_errors=True)
    for folder in ("ftlab", "tests", "tools", "benchmarks"):
        for cache in list((ROOT / folder).rglob("__pycache__")):  # a list, because the tree changes meanwhile
            shutil.rmtree(cache, ignore_errors=True)


def _works(python: Path) -> bool:
    """Return whether a virtual environment's interpreter starts, is new enough and has pip."""
    probe = f"import pip, sys; sys.exit(sys.version_info < {OLDEST})"
    try:
        return subprocess.run([str(python), "-c", probe], stderr=subprocess.DEVNULL).returncode == 0
    except OSError:
        return False


def _run(*words: str) -> None:
    """Run a command in the repository's root; exit if it fails."""
    status = subprocess.run(words, cwd=ROOT).returncode
    if status:
        sys.exit(f"ftlab: this failed: {' '.join(words)}")


def _say(text: str) -> None:
    """Print a line with the name of the program, flushed before a subprocess writes."""
    print(f"ftlab: {text}", flush=True)


def main(words: list[str]) -> None:
    """Run the command of the command line; print the usage if there is none of that name."""
    torch_build = ""
    if len(words) > 2 and words[-2] == "--torch":
        *words, _, torch_build = words
    if words[:1] == ["install"] and len(words) in (3, 4) and words[2] in REQUIREMENTS:
        wheel_folder = Path(words[3]).absolute() if len(words) == 4 else None
        install(Path(words[1]).absolute(), words[2], wheel_folder, torch_build)
    elif words[:1] == ["download"] and len(words) == 2:
        download(Path(words[1]).absolute(), torch_build)
    elif words == ["clean"]:
        clean()
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
