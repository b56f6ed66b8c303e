"""Answers with a heat map against other packages: `python -m benchmarks.against_maps FOLDER`.

    python -m benchmarks.against_maps FOLDER --peer grad_cam --rounds 3

The top 5 of 1,000 classes and the heat map of the first one, from an image file, by MobileNetV2; the peers are in
benchmarks/peers/heat_maps.py. ONNX Runtime runs the forward pass alone: it is the least time that an answer can take.
Each round is a process of each, one after the other.
"""

from __future__ import annotations

import argparse
import statistics
from itertools import cycle, islice
from pathlib import Path

from benchmarks import packages
from benchmarks.answers import IN_PROCESS_SCRIPT
from benchmarks.process import run_python
from benchmarks.row import report_at_most

PEERS = {
    "grad_cam": ("the grad-cam package", "pytorch_grad_cam", "grad-cam==1.5.7", None),
    "torchcam": ("the torchcam package", "torchcam", "torchcam==0.5.0", None),
    "onnxruntime": ("a forward pass of ONNX Runtime alone", "onnxruntime", "onnxruntime==1.32.0", 1.5),
}
"""Title, module, requirement and target of our time relative to it, by peer."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--peer", choices=tuple(PEERS), nargs="+", default=list(PEERS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--answers", type=int, default=60, help="in a round")
    options = parser.parse_args()
    images = sorted((options.folder / "val").rglob("*.jpg"))
    files = [str(image.absolute()) for image in islice(cycle(images), options.answers)]
    for peer in options.peer:
        title, module, requirement, max_ratio = PEERS[peer]
        name = f"Top 5 and heat map from an image file, MobileNetV2: time relative to {title}"
        missing = packages.describe_missing(module, requirement)
        if missing:
            report_at_most(name, None, max_ratio, "×", missing)
            continue
        pairs = [(_measure_ftlab(files), _measure_peer(peer, files)) for _ in range(options.rounds)]
        ftlab_ms, peer_ms = (1000 * statistics.median(seconds) for seconds in zip(*pairs, strict=True))
        details = f"{ftlab_ms:.1f} ms and {peer_ms:.1f} ms; medians of {options.rounds} rounds"
        ratio = statistics.median(ftlab_seconds / peer_seconds for ftlab_seconds, peer_seconds in pairs)
        report_at_most(name, ratio, max_ratio, "×", details)


def _measure_ftlab(files: list[str]) -> float:
    """Return the median seconds of an answer by ftlab."""
    return float(run_python(["-c", IN_PROCESS_SCRIPT, "mobilenet_v2", *files])[0]["seconds"])


def _measure_peer(peer: str, files: list[str]) -> float:
    """Return the median seconds of an answer by a peer."""
    return float(run_python(["-m", "benchmarks.peers.heat_maps", peer, *files])[0]["seconds"])


if __name__ == "__main__":
    main()
