"""Clients of a class whose network or page fails in the middle of an answer, beside others who go on asking."""

from __future__ import annotations

import json
import random
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import psutil

from tests.support.live_class import LiveClass
from tests.support.page_client import Tab, join_class, name_upload, open_predict_tab, run_together
from tests.support.staged_jobs import until
from tests.support.stalling_proxy import carrying

OTHERS_PAUSE_SECONDS = 0.2
"""Seconds between an answer of the others and their next question."""
IDLE_SHARE = 0.25
"""Share of a core below which a server does nothing: waiting for events takes it some percent."""
_SMALL_BUFFER_BYTES = 4096


@dataclass
class FaultReport:
    """What the others saw during one kind of fault, and what it cost the server.

    Attributes:
        times: how often the fault happened.
        delays: seconds of each answer of the others meanwhile.
        faults: answers that failed or were to another's image, and what the faulty client did not get in the end.
        grown_bytes: resident memory of the server afterwards, more than before.
    """

    times: int = 0
    delays: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    grown_bytes: int = 0

    def get_percentile(self, percent: int) -> float:
        """A percentile of the delays, in seconds."""
        ordered = sorted(self.delays)
        return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]

    @property
    def median(self) -> float:
        return statistics.median(self.delays)


class FaultyClients:
    """A class in which somebody's network fails while others ask.

    Attributes:
        live: the class.
        model: name of the run that all ask.
        images: photographs to ask about.
    """

    def __init__(self, live: LiveClass, model: str, others: int) -> None:
        self.live, self.model = live, model
        self.images = sorted(live.pictures.rglob("*.jpg"))
        self.others = [open_predict_tab(live.enroll(f"Other {number}")) for number in range(others)]
        self._count, self._dice = 0, random.Random(0)
        for tab in self.others:  # PyTorch is imported, and the model loaded
            assert not (fault := self.ask(tab)), fault
        # In the background the model becomes a graph, which takes several times its memory.
        until(partial(_is_idle, psutil.Process(live.server.process.pid)))

    def ask(self, tab: Tab) -> str:
        """Ask about an image with a name of its own; empty if the answer is to it."""
        tag = self._make_tag()
        return tab.ask(self.images[int(tag[1:-1]) % len(self.images)], tag, predict_model=self.model)

    def watch_others(self, seconds: float) -> FaultReport:
        """Let only the others ask, for comparison."""
        return self._run(lambda _report: time.sleep(seconds))

    def close_in_mid_answer(self, times: int) -> FaultReport:
        """Ask for an answer, and for one by the page's stream, and close the page before they are complete."""

        def close_pages(report: FaultReport) -> None:
            http = self.live.enroll("Closes pages")
            for _ in range(times):
                tab = open_predict_tab(http)
                with self._open_answer(tab, self.live.server.port), self._open_stream(tab) as stream:
                    stream.recv(1)
                    time.sleep(self._dice.uniform(0, 0.1))
                report.times += 1
            if fault := self.ask(open_predict_tab(http)):
                report.faults.append(f"asked again: {fault}")

        return self._run(close_pages)

    def lose_network(self, seconds: float) -> FaultReport:
        """Let the network of one client carry nothing for so many seconds, in the middle of two answers."""

        def lose(report: FaultReport) -> None:
            with carrying(self.live.server.port) as proxy:
                tab = open_predict_tab(join_class(proxy.url, self.live.server.read_code(), "Loses network"))
                tab.send("rescan_dataset", **self.live.name_pictures())
                stream = tab.listen()
                next(stream)
                with self._open_answer(tab, proxy.port) as answer:
                    first_byte = answer.recv(1)
                    proxy.flows.clear()
                    time.sleep(seconds)
                    proxy.flows.set()
                    report.times += 1
                    first_line = (first_byte + _read_all(answer)).partition(b"\r\n")[0]
                if first_line != b"HTTP/1.1 200 OK":
                    report.faults.append(f"after the network came back: {first_line!r}")
                messages = [json.loads(line)["msg"] for line in stream]
                if "process_completed" not in messages:
                    report.faults.append(f"after the network came back: {messages}")
                if fault := self.ask(tab):
                    report.faults.append(f"asked again: {fault}")

        return self._run(lose)

    def use_two_tabs(self, times: int) -> FaultReport:
        """Ask in two tabs of one person at once."""

        def ask_in_both(report: FaultReport) -> None:
            http = self.live.enroll("Two tabs")
            tabs = [open_predict_tab(http), open_predict_tab(http)]

            def ask_all(tab: Tab) -> None:
                report.faults += [fault for _ in range(times) if (fault := self.ask(tab))]

            run_together([partial(ask_all, tab) for tab in tabs])
            report.times += times

        return self._run(ask_in_both)

    def read_slowly(self, readers: int, seconds: float) -> FaultReport:
        """Read the stream of answers byte by byte, and in every second client not at all."""

        def read_all(report: FaultReport) -> None:
            http = self.live.enroll("Slow reader")
            tabs = [open_predict_tab(http) for _ in range(readers)]

            def read(tab: Tab, *, is_reading: bool) -> None:
                with self._open_answer(tab, self.live.server.port) as answer, self._open_stream(tab) as stream:
                    until = time.monotonic() + seconds
                    while time.monotonic() < until:
                        time.sleep(0.05)
                        if is_reading and not (answer.recv(1) and stream.recv(1)):
                            report.faults.append("a slow reader was sent away")
                            return
                report.times += 1

            run_together([partial(read, tab, is_reading=number % 2 == 0) for number, tab in enumerate(tabs)])
            if fault := self.ask(open_predict_tab(http)):
                report.faults.append(f"asked again: {fault}")

        return self._run(read_all)

    def _run(self, fault: Callable[[FaultReport], None]) -> FaultReport:
        """Let the others ask for as long as a fault takes."""
        report, lock, is_over = FaultReport(), threading.Lock(), threading.Event()

        def ask_on(tab: Tab) -> None:
            while True:
                began = time.monotonic()
                refusal = self.ask(tab)
                with lock:
                    report.delays.append(time.monotonic() - began)
                    report.faults += [f"another: {refusal}"] if refusal else []
                if is_over.wait(OTHERS_PAUSE_SECONDS):
                    return

        def make_fault() -> None:
            try:
                fault(report)
            finally:
                is_over.set()

        process = psutil.Process(self.live.server.process.pid)
        before = process.memory_info().rss
        run_together([make_fault, *(partial(ask_on, tab) for tab in self.others)])
        report.grown_bytes = process.memory_info().rss - before
        return report

    @contextmanager
    def _open_answer(self, tab: Tab, port: int) -> Iterator[socket.socket]:
        """A connection on which the answer to a question comes."""
        uploaded = name_upload(tab.upload(f"{self._make_tag()}.jpg", self.images[0].read_bytes()))
        body = json.dumps(tab.build_body("show_prediction", predict_image=uploaded, predict_model=self.model)).encode()
        head = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
        with _connect(tab, port, f"POST /gradio_api/run/predict HTTP/1.1\r\n{head}", body) as connection:
            yield connection

    @contextmanager
    def _open_stream(self, tab: Tab) -> Iterator[socket.socket]:
        """A connection on which the answers of the queue come, after the data set was to be shown."""
        tab.send("rescan_dataset", **self.live.name_pictures())
        request = f"GET /gradio_api/queue/data?session_hash={tab.session} HTTP/1.1\r\n"
        with _connect(tab, self.live.server.port, request, b"") as connection:
            yield connection

    def _make_tag(self) -> str:
        self._count += 1
        return f"q{self._count}q"


@contextmanager
def _connect(tab: Tab, port: int, head: str, body: bytes) -> Iterator[socket.socket]:
    """A connection with a receive buffer as small as can be, on which a request was sent."""
    cookies = "; ".join(f"{name}={value}" for name, value in tab.http.cookies.items())
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER_BYTES)
        connection.settimeout(60)
        connection.connect(("127.0.0.1", port))
        connection.sendall(f"{head}Host: 127.0.0.1:{port}\r\nCookie: {cookies}\r\n\r\n".encode() + body)
        yield connection


def _read_all(connection: socket.socket) -> bytes:
    """All that comes until the server closes a connection."""
    chunks = list[bytes]()
    while chunk := connection.recv(65536):
        chunks.append(chunk)
    return b"".join(chunks)


def _is_idle(process: psutil.Process) -> bool:
    """Whether a process computes next to nothing for a second."""
    before = process.cpu_times()
    time.sleep(1.0)
    after = process.cpu_times()
    return float(after.user - before.user + after.system - before.system) < IDLE_SHARE
