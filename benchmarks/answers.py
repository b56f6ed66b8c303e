"""Answers with a heat map, by this checkout and by one of an older commit: `python -m benchmarks.answers`.

    python -m benchmarks.answers FOLDER --against ../old --rounds 5

FOLDER has `val/`, with one folder of photographs per class. An answer is the top 5 of 1,000 classes and the heat map of
the first one, from an image file, by the default backbone.

- In process: seconds per answer of `Predictor`, after a warm-up. Each round is a process of each checkout.
- Through the page: CPU seconds of the server, with its child processes, per answer. One client uploads photographs and
  waits for each answer, as a browser does. Both servers stay up; the client asks them in turn.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import cycle, islice
from pathlib import Path

import psutil

from benchmarks import two_commits
from benchmarks.classroom import Student, run_load, serve
from benchmarks.process import PROJECT_ROOT, run_python
from benchmarks.two_commits import PairedValues

MAX_TIME_RATIO, MAX_CPU_RATIO = 0.5, 0.4
_WARM_UP_ANSWERS = 80
"""Answers before the measurement: until the network has been made a graph, where that is done."""
IN_PROCESS_SCRIPT = """
import json, statistics, sys, time
import torch
torch.manual_seed(0)
try:
    from ftlab.config import backbones
    from ftlab.data.transforms import preprocess
    from ftlab.inference.predictor import Predictor
    from ftlab.models import network
    spec = backbones.get_backbone_spec(sys.argv[1])
    model = Predictor(network.build_network(spec, 1000, pretrained=False), spec, preprocess.from_spec(spec),
                      tuple(map(str, range(1000))), spec.title)
    model.prepare_graph().result()
    def answer(file):
        scores, explanation = model.predict_and_explain(file)
        return scores, explanation.heatmap
except ImportError:  # the older commit
    from ftlab import backbones
    from ftlab.data import transforms
    from ftlab.inference.predictor import Predictor
    from ftlab.models import network
    row = backbones.get(sys.argv[1])
    model = Predictor(network.build(row, 1000, pretrained=False), row, transforms.of(row),
                      tuple(map(str, range(1000))), row.title)
    def answer(file):
        scores, explanation = model.look(file)
        return scores, explanation.heat
files, seconds, cpu_seconds = sys.argv[2:], [], []
for file in files[:1] * 10 + files:
    start, cpu_start = time.perf_counter(), time.process_time()
    scores, heat = answer(file)
    seconds.append(time.perf_counter() - start)
    cpu_seconds.append(time.process_time() - cpu_start)
    assert len(scores) == 5 and heat.ndim == 2
print(json.dumps({"seconds": statistics.median(seconds[10:]), "cpu_seconds": statistics.median(cpu_seconds[10:])}))
"""
"""Prints the medians of the seconds and CPU seconds of an answer, after ten answers that warm up."""


class PageClient:
    """One client of a checkout's server, and the CPU time that the server has used."""

    def __init__(self, url: str, room_code: str, server_pid: int) -> None:
        """Open the page.

        Args:
            url: address of the page.
            room_code: code of the class; empty without one.
            server_pid: process of the server.
        """
        self._student = Student(url, 0, room_code)
        self._server = psutil.Process(server_pid)

    def measure_cpu_seconds(self, images: Sequence[Path], count: int) -> float:
        """Ask about images, one after the other.

        Args:
            images: photographs, asked about in turn.
            count: number of answers.

        Returns:
            CPU seconds of the server and its child processes per answer.
        """
        start_seconds = self._read_cpu_seconds()
        result = run_load([self._student], images, count, 0.0)
        assert not result.failures, result.failures
        return (self._read_cpu_seconds() - start_seconds) / count

    def _read_cpu_seconds(self) -> float:
        """Return user and system time of the server and of its children so far."""
        processes = [self._server, *self._server.children(recursive=True)]
        return sum(sum(process.cpu_times()[:2]) for process in processes)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    two_commits.add_against_option(parser, required=True)
    parser.add_argument("--backbone", default="tf_efficientnet_lite0", help="for the answers in process")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--answers", type=int, default=60, help="in a round, of each checkout")
    parser.add_argument(
        "--warm-up", type=int, default=_WARM_UP_ANSWERS, help="answers of the page before the first round"
    )
    options = parser.parse_args()
    images = sorted((options.folder / "val").rglob("*.jpg"))
    files = [str(image.absolute()) for image in islice(cycle(images), options.answers)]
    seconds, cpu_seconds = _measure_in_process(options, files)
    title = f"Answer with heat map from an image file, {options.backbone}"
    _report(f"{title}: time", seconds, MAX_TIME_RATIO)
    _report(f"{title}: CPU time", cpu_seconds, None)
    page_seconds = _measure_page(options, images)
    _report("Answer with heat map through the page, one client: CPU time of the server", page_seconds, MAX_CPU_RATIO)


def _measure_in_process(options: argparse.Namespace, files: Sequence[str]) -> tuple[PairedValues, PairedValues]:
    """Return seconds and CPU seconds of an answer by both checkouts."""
    cpu_seconds: dict[Path, list[float]] = {PROJECT_ROOT: [], options.against: []}

    def measure(checkout: Path) -> float:
        result, _ = run_python(["-c", IN_PROCESS_SCRIPT, options.backbone, *files], checkout)
        cpu_seconds[checkout].append(result["cpu_seconds"])
        return float(result["seconds"])

    seconds = two_commits.measure_in_turn(measure, options.against, options.rounds, warm_up_rounds=0)
    return seconds, PairedValues(cpu_seconds[PROJECT_ROOT], cpu_seconds[options.against])


def _measure_page(options: argparse.Namespace, images: Sequence[Path]) -> PairedValues:
    """Return the CPU seconds of an answer through the page by both checkouts."""
    with ExitStack() as stack:
        clients = dict[Path, PageClient]()
        for checkout in (PROJECT_ROOT, options.against):
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            own_process = psutil.Process()
            earlier_pids = {child.pid for child in own_process.children()}
            url, room_code = stack.enter_context(serve(checkout, scratch))
            (server_pid,) = {child.pid for child in own_process.children()} - earlier_pids
            clients[checkout] = PageClient(url, room_code, server_pid)
            clients[checkout].measure_cpu_seconds(images, options.warm_up)
        return two_commits.measure_in_turn(
            lambda checkout: clients[checkout].measure_cpu_seconds(images, options.answers),
            options.against,
            options.rounds,
            warm_up_rounds=0,
        )


def _report(name: str, values: PairedValues, bound: float | None) -> None:
    """Print the row of one measurement."""
    details = values.describe("ms", 1000)
    two_commits.report_ratio(f"{name} relative to {two_commits.OLD_COMMIT}", values, bound, details)


if __name__ == "__main__":
    main()
