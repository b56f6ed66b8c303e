"""Order of the classes in a checkpoint's head that does not name them: each usual order is tried on training images.

ftlab and timm number classes in natural order (2 before 10, regardless of case); torchvision, Keras, fastai and Hugging
Face in the order of their names as text. Where these differ, a head laid on by number would start near chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor

from ftlab.core import messages
from ftlab.core.errors import ImageError
from ftlab.data.transforms.preprocess import normalize_batch
from ftlab.models import heads
from ftlab.models.network import Network
from ftlab.runs.directory import Run
from ftlab.runs.events import LogMessage
from ftlab.training.devices import distributed
from ftlab.training.feeds.image_base import ImageFeedBase

_MAX_IMAGES = 256
"""Training images that are tried at most."""
_BATCH_SIZE = 16
_CHANCE_FACTOR = 2.0
_MIN_SHARE_ABOVE_CHANCE = 0.25


@dataclass(frozen=True)
class OrderScore:
    """How well a head fits in one order of its classes.

    Attributes:
        name: `natural`, `text` or `folded`.
        rows: row of the head by class.
        accuracy: fraction of the images that it classifies correctly.
        loss: mean cross-entropy in nats, which decides between equal accuracies.
    """

    name: str
    rows: tuple[int, ...]
    accuracy: float
    loss: float


def list_class_orders(class_names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """List the usual orders of classes that differ.

    Args:
        class_names: of a data set, in natural order.

    Returns:
        By the name of the order, for each class its place in that order; the first is the one of `class_names`.
    """
    sorted_names = {
        "natural": list(class_names),
        "text": sorted(class_names),
        "folded": sorted(class_names, key=lambda name: (name.casefold(), name)),
    }
    orders: dict[str, tuple[int, ...]] = {}
    for name, names in sorted_names.items():
        places = {class_name: place for place, class_name in enumerate(names)}
        rows = tuple(places[class_name] for class_name in class_names)
        if rows not in orders.values():
            orders[name] = rows
    return orders


def choose_class_order(net: Network, image_feed: ImageFeedBase, run: Run, accelerator: Accelerator) -> list[LogMessage]:
    """Put the rows of a network's head, taken from a file by number, into the order that fits the training images best.

    The order is recorded in `config.json`, so that a run that starts again before its first checkpoint starts alike.

    Args:
        net: the network, with the head of the file.
        image_feed: decodes the images.
        run: the run directory.
        accelerator: rank 0 decides for all ranks.

    Returns:
        A note, if the orders of the classes differ.
    """
    orders = list_class_orders(image_feed.catalog.classes)
    if len(orders) < 2:
        return []
    recorded_rows = run.read_config_file().get("init", {}).get("class_rows")
    if recorded_rows is not None:
        _reorder_head(net, recorded_rows)
        return []
    scores: list[OrderScore] = []
    image_count = 0
    if accelerator.is_main_process:
        logits, labels = _compute_sample_logits(net, image_feed, orders)
        image_count = len(labels)
        scores = [_score_order(name, rows, logits, labels) for name, rows in orders.items()] if image_count else []
    scores, image_count = distributed.broadcast_object(accelerator, (scores, image_count))
    if not scores:
        return []
    best = max(scores, key=lambda score: (score.accuracy, -score.loss))
    _reorder_head(net, best.rows)
    if accelerator.is_main_process:
        content = run.read_config_file()
        run.write_json("config.json", {**content, "init": {**content.get("init", {}), "class_rows": list(best.rows)}})
    return [_describe_choice(scores, best, image_count, image_feed.class_count)]


def _compute_sample_logits(
    net: Network, image_feed: ImageFeedBase, orders: dict[str, tuple[int, ...]]
) -> tuple[Tensor, Tensor]:
    """Compute the logits of some training images, of classes whose place depends on the order.

    Args:
        net: the network.
        image_feed: decodes the images.
        orders: of the classes.

    Returns:
        float [n, K] and the labels, int64 [n], on the CPU.
    """
    moved_classes = {label for label, places in enumerate(zip(*orders.values(), strict=True)) if len(set(places)) > 1}
    labels = image_feed.labels["train"].tolist()
    candidates = [index for index, label in enumerate(labels) if label in moved_classes]
    count = min(len(candidates), _MAX_IMAGES)
    sample = [candidates[position * len(candidates) // count] for position in range(count)]
    training_flags = {name: module.training for name, module in net.named_modules()}
    net.eval()
    batches: list[Tensor] = []
    sample_labels: list[int] = []
    try:
        for start in range(0, count, _BATCH_SIZE):
            images = []
            for index in sample[start : start + _BATCH_SIZE]:
                try:
                    images.append(image_feed.read_views("train", index, 1)[0])
                except ImageError:  # the training reports it
                    continue
                sample_labels.append(labels[index])
            if images:
                batch = normalize_batch(torch.stack(images).to(image_feed.device), image_feed.prep)
                with torch.inference_mode():
                    batches.append(net(batch).float().cpu())
    finally:
        for name, module in net.named_modules():
            module.training = training_flags[name]
    return torch.cat(batches) if batches else torch.empty(0, 0), torch.tensor(sample_labels, dtype=torch.int64)


def _score_order(name: str, rows: tuple[int, ...], logits: Tensor, labels: Tensor) -> OrderScore:
    """Return how well logits [n, K] fit labels [n] if the logit of each class is that of its row."""
    ordered = logits[:, list(rows)]
    accuracy = float((ordered.argmax(1) == labels).double().mean())
    return OrderScore(name, rows, accuracy, float(torch.nn.functional.cross_entropy(ordered, labels)))


def is_near_chance(accuracy: float, class_count: int) -> bool:
    """Return whether a head is hardly better than chance, as one is that was made for other classes.

    Args:
        accuracy: fraction of the images that it classifies correctly in the best order.
        class_count: number of classes.

    Returns:
        True below twice the accuracy of chance; of few classes, below a quarter of the way from chance to 1.
    """
    chance = 1 / class_count
    return accuracy < min(_CHANCE_FACTOR * chance, chance + _MIN_SHARE_ABOVE_CHANCE * (1 - chance))


def _reorder_head(net: Network, rows: Sequence[int]) -> None:
    """Give each class of a head the row that belonged to another until now."""
    classifier = heads.find_classifier(net.head)
    with torch.no_grad():
        for parameter in (classifier.weight, classifier.bias):
            if len(parameter) == len(rows):
                parameter.copy_(parameter[list(rows)].clone())
            elif rows[0]:  # one logit for two classes
                parameter.neg_()


def _describe_choice(scores: list[OrderScore], best: OrderScore, image_count: int, class_count: int) -> LogMessage:
    """Return the note on the orders that were tried, and the one that was taken."""
    percents = ", ".join(
        f"{messages.format_percent(score.accuracy)} ({messages.get_text(f'log.class_order.{score.name}')})"
        for score in scores
    )
    values = {"count": image_count, "percents": percents}
    if is_near_chance(best.accuracy, class_count):
        return LogMessage(code="init_order_unclear", values=values, level="warning")
    order = messages.get_text(f"log.class_order.{best.name}")
    return LogMessage(code="init_order", values={**values, "order": order})
