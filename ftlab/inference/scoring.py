"""How good a run's best model is on a split of its pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ftlab.data.catalog import from_json
from ftlab.errors import DataError
from ftlab.events import Progress
from ftlab.inference.predictor import load
from ftlab.runs import Run
from ftlab.training import devices
from ftlab.training.engine import evaluate
from ftlab.training.feeds import PictureFeed
from ftlab.training.metrics import Score


def score(run: Run, split: str, progress: Callable[[int, int], None] = lambda done, total: None) -> Score:
    """Loss, top-1 and top-5 of the best model on `train`, `val` or `test` as `split.json` has them.

    Raises:
        RunError: there are no weights yet, or they are damaged.
        DataError: the split is empty.
    """
    model = load(run)
    pictures = from_json(run.read("split.json"))
    if not pictures.splits[split]:
        raise DataError("data.empty_split", split=split, run=run.name)
    # The run may come from a machine with other devices.
    accelerator = devices.open_device(replace(run.resolved(), device="auto", precision="auto", threads=None))
    net = model.network.to(accelerator.device)
    feed = PictureFeed(pictures, model.prep, run.resolved(), accelerator)
    work = evaluate(net, feed, split, pictures, accelerator)
    try:
        while True:
            event = next(work)
            if isinstance(event, Progress):
                progress(event.done, event.total)
    except StopIteration as end:
        found: Score = end.value
        return found
    finally:
        net.to("cpu")
