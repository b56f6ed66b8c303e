"""`python app.py` in a process of its own, which can be killed and started again."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil

from tests.support import ROOT

START_SECONDS = 120.0


class ServerProcess:
    """A server on a port of its own.

    Attributes:
        runs: its runs folder.
        url: its address.
        environment: variables of its process.
        process: its process, once it was started.
    """

    process: subprocess.Popen[bytes]

    def __init__(self, folder: Path, *flags: str, **environment: str) -> None:
        """Prepare it; nothing is started. It is a class, unless other flags are given."""
        folder.mkdir(parents=True, exist_ok=True)
        self.runs, self.log = folder / "runs", folder / "server.log"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}/"
        self._flags = flags or ("--classroom",)
        places = {"FTLAB_HOME": str(folder / "home"), "GRADIO_TEMP_DIR": str(folder / "uploads")}
        self.environment = {**os.environ, "GRADIO_ANALYTICS_ENABLED": "False", **places, **environment}

    def launch(self) -> None:
        """Start the process, and do not wait."""
        command = [sys.executable, "app.py", *self._flags, "--host", "127.0.0.1", "--port", str(self.port)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--runs", str(self.runs), "--no-browser"],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def start(self) -> float:
        """Start, and wait until the page answers; the seconds that this took."""
        began = time.monotonic()
        self.launch()
        while time.monotonic() - began < START_SECONDS:
            try:
                httpx.get(self.url, timeout=5)
            except httpx.TransportError:
                assert self.process.poll() is None, self.log.read_text(encoding="utf-8")
                time.sleep(0.05)
            else:
                return time.monotonic() - began
        raise AssertionError(f"no server: {self.log.read_text(encoding='utf-8')}")

    def kill(self) -> None:
        """End it as the system does that has no memory left."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        """End it as an administrator does; nothing of it may stay."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=30)

    def read_code(self, who: str = "room_code") -> str:
        """The room code, or the `teacher_code`."""
        members = self.runs / ".people" / "members.json"
        return str(json.loads(members.read_text(encoding="utf-8"))[who])

    def list_processes(self) -> list[psutil.Process]:
        """Processes on this machine with the home of this server: its own ones, and those that it has started."""
        home, found = self.environment["FTLAB_HOME"], []
        for process in psutil.process_iter():
            try:
                is_own = process.environ().get("FTLAB_HOME") == home
                if is_own and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found
