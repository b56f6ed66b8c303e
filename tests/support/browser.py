"""The browser of the page's tests: find one, or get one.

    python tests/support/browser.py        what `make test` runs: prints the browser it found or got

`FTLAB_BROWSER` names one. Else one of the system is taken, else Playwright's own is downloaded, else, for root on
Debian, the system's package is installed. Where all of this fails the page's tests do not run, and say so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge", "msedge")
PLACES = {
    "darwin": ("/Applications", "~/Applications"),
    "win32": ("${PROGRAMFILES}", "${PROGRAMFILES(X86)}", "${LOCALAPPDATA}"),
}
FILES = {
    "darwin": (
        "Google Chrome.app/Contents/MacOS/Google Chrome",
        "Chromium.app/Contents/MacOS/Chromium",
        "Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    ),
    "win32": (
        "Google/Chrome/Application/chrome.exe",
        "Chromium/Application/chrome.exe",
        "Microsoft/Edge/Application/msedge.exe",
    ),
}
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Pages of this machine share a process: the scripts of a page are compiled once, not for each test.
    "--process-per-site",
    # No name but this machine's can be looked up: a page that asks for another fails as it would offline.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
)
"""How the tests start it."""

REMEDY = "python -m playwright install --with-deps chromium (or name a Chromium, Chrome or Edge in FTLAB_BROWSER)"


def find() -> str | None:
    """Path of a browser that is here already, None where there is none."""
    named = os.environ.get("FTLAB_BROWSER")
    if named:
        return shutil.which(named)
    on_path = (path for path in map(shutil.which, NAMES) if path and not _confined(path))
    in_places = (
        str(file)
        for place in PLACES.get(sys.platform, ())
        for name in FILES[sys.platform]
        if (file := Path(os.path.expandvars(place)).expanduser() / name).is_file()
    )
    return next(on_path, None) or next(in_places, None) or _playwrights()


def get() -> str | None:
    """Path of a browser, downloaded or installed where none was here; None where that failed too."""
    if os.environ.get("FTLAB_BROWSER"):
        return find()
    found = find()
    for attempt in (_download, _install_package):
        if found is None:
            attempt()
            found = find()
    return found


def _download() -> None:
    print("ftlab: no browser found for the page's tests: downloading Playwright's", flush=True)
    with_dependencies = ["--with-deps"] if sys.platform == "linux" and _root() else []
    _run(sys.executable, "-m", "playwright", "install", *with_dependencies, "chromium")


def _install_package() -> None:
    if _root() and Path("/etc/debian_version").exists() and shutil.which("apt-get"):
        print("ftlab: installing the system's package chromium", flush=True)
        _run("apt-get", "update", "--quiet=2")
        _run("apt-get", "install", "--quiet=2", "--yes", "--no-install-recommends", "chromium", "fonts-liberation")


def _confined(path: str) -> bool:
    """Whether it is a snap, or Ubuntu's script that starts one: a snap has its own /tmp, not the tests'."""
    file = Path(path)
    if file.is_relative_to("/snap") or file.resolve().is_relative_to("/snap"):
        return True
    with file.open("rb") as stream:
        start = stream.read(4096)
    return start.startswith(b"#!") and b"/snap/bin" in start


def _playwrights() -> str | None:
    """Path of the browser that Playwright downloaded, if it did."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).is_file() else None


def _root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def _run(*words: str) -> None:
    """Run to the end or not: whether a browser is there afterwards is what counts."""
    try:
        subprocess.run(words, check=False, timeout=300, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as cause:
        print(f"ftlab: {words[0]}: {cause}", flush=True)


if __name__ == "__main__":
    path = get()
    print(f"ftlab: browser for the page's tests: {path or 'none. They will not run. To mend it: ' + REMEDY}")
