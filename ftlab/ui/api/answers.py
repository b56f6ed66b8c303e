"""Answers to calls: plain JSON of what the page shows. Numbers that are not finite are null."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import cv2

from ftlab.data.dataset import class_names
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.images.data_uri import encode_data_uri
from ftlab.runs import run_notes
from ftlab.runs.directory import Run
from ftlab.runs.history import History
from ftlab.runs.jobs.local_launcher import read_places
from ftlab.runs.queue.places import describe_place
from ftlab.runs.run_table import RunRow
from ftlab.ui.common.run_status import RunSnapshot

if TYPE_CHECKING:  # torch is imported by the first request, not by the page.
    from ftlab.inference.predictor import ClassExplanation, ClassScore, Predictor

MAX_PROBLEMS = 100
"""Problems of a data set in an answer."""
MAX_OVERLAY_SIDE = 512
"""Longer side of the image with the map over it, in pixels: at most some 100 kB."""
MAP_DIGITS = 4
"""Decimal places of the values of a map."""


def make_plain(value: Any) -> Any:
    """Return a value that every reader of JSON understands: no NaN or infinity, no halves of characters.

    Args:
        value: of dicts, lists, texts and numbers.
    """
    if isinstance(value, dict):
        return {key: make_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [make_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    # Names of files that are not in UTF-8 hold surrogates.
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def describe_prediction(predictor: Predictor, scores: list[ClassScore], run_name: str, top_k: int) -> dict[str, Any]:
    """Return the most probable classes of an image.

    Args:
        predictor: the model.
        scores: the classes, the most probable first.
        run_name: name of the run; empty for the model without fine-tuning.
        top_k: number of classes in the answer.
    """
    return {
        "model": predictor.title,
        "run": run_name,
        "classes": [_describe_score(predictor, score) for score in scores[:top_k]],
        "class_count": len(predictor.class_names),
        "rejected": predictor.is_rejected(scores),
        "threshold": predictor.decision.threshold if predictor.decision else None,
    }


def _describe_score(predictor: Predictor, score: ClassScore) -> dict[str, Any]:
    """Return a class of a model and its probability."""
    return {
        "name": score.name,
        "display_name": class_names.get_display_name(score.name, predictor.display_names),
        "probability": score.probability,
    }


def describe_explanation(
    predictor: Predictor, scores: list[ClassScore], explanation: ClassExplanation
) -> dict[str, Any]:
    """Return the class activation map of an image.

    Args:
        predictor: the model.
        scores: all classes of the model.
        explanation: of the class.
    """
    height, width = explanation.image.shape[:2]
    explained_score = next(score for score in scores if score.class_index == explanation.class_index)
    return {
        "explained": _describe_score(predictor, explained_score),
        "method": explanation.cam_options.method,
        "layer": explanation.cam_options.layer_path,
        "has_evidence": explanation.has_evidence,
        "map": [[round(value, MAP_DIGITS) for value in row] for row in explanation.scaled_map.tolist()],
        "image_size": [width, height],
        "visible_box": list(explanation.visible_box),
        "overlay": _encode_overlay(explanation) if explanation.has_evidence else None,
    }


def _encode_overlay(explanation: ClassExplanation) -> str:
    """Return the image with the map over it as a `data:` URL."""
    from ftlab.inference import heatmap

    overlay = heatmap.blend_overlay(explanation.image, explanation.heatmap, explanation.visible_box)
    height, width = overlay.shape[:2]
    scale = MAX_OVERLAY_SIDE / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        overlay = cv2.resize(overlay, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    return str(encode_data_uri(overlay, quality=85))


def describe_catalog(catalog: Catalog, data: str) -> dict[str, Any]:
    """Return classes, splits and problems of a data set.

    Args:
        catalog: of its scan.
        data: what names the data set in further calls.
    """
    titles = class_names.find_display_names(catalog.root, catalog.classes)
    return {
        "data": data,
        "images": sum(map(len, catalog.splits.values())),
        "splits": {split: len(items) for split, items in catalog.splits.items()},
        "random_splits": list(catalog.random_splits),
        "reading": catalog.describe_reading(),
        "classes": [
            {"name": name, "display_name": class_names.get_display_name(name, titles), "images": counts}
            for name, counts in catalog.count_images().items()
        ],
        "problems": [problem.to_json() for problem in catalog.problems[:MAX_PROBLEMS]],
        "problem_count": len(catalog.problems),
    }


def describe_run(run: Run, snapshot: RunSnapshot, history: History) -> dict[str, Any]:
    """Return what a run is doing.

    Args:
        run: the run.
        snapshot: as the page shows it.
        history: its events so far.
    """
    start_event, best_epoch = history.start_event, history.best_epoch
    # A run that was queued a moment ago is not in what the pages share.
    is_new = run.name not in read_places(run.path.parent)
    is_queued = snapshot.status == "queued"
    place = read_places(run.path.parent, fresh=is_new).get(run.name) if is_queued else None
    last_epoch = history.epochs[-1] if history.epochs else None
    last_step = history.steps[-1] if history.steps else None
    return {
        "run": run.name,
        "title": run_notes.read_notes(run).title,
        "status": snapshot.status,
        "state": snapshot.state,
        "epoch": last_epoch.epoch if last_epoch else 0,
        "epochs": start_event.epochs if start_event else None,
        "step": history.steps_done,
        "steps": history.total_steps or None,
        "metrics": {
            "loss": last_step.loss if last_step else None,
            "accuracy": last_step.accuracy if last_step else None,
            "val_loss": last_epoch.val_loss if last_epoch else None,
            "val_accuracy": last_epoch.val_accuracy if last_epoch else None,
            "learning_rate": last_step.learning_rate if last_step else None,
        },
        "best": {"epoch": best_epoch.epoch, "val_accuracy": best_epoch.val_accuracy} if best_epoch else None,
        "seconds_left": history.estimate_seconds_left() if snapshot.is_live else None,
        "queue_place": place.number if place else None,
        "queue_note": describe_place(place),
        "has_model": snapshot.has_model,
        "error": (history.end_event.message or "") if history.end_event else "",
    }


def describe_row(row: RunRow, mark: str) -> dict[str, Any]:
    """Return a run in the list of runs.

    Args:
        row: of the table of runs.
        mark: what the table says of its owner.
    """
    return {
        "run": row.name,
        "title": row.title,
        "started": f"{row.day} {row.time_of_day}",
        "status": row.status,
        "data": row.data,
        "backbone": row.backbone,
        "mode": row.mode,
        "best_val_accuracy": row.best_accuracy,
        "test_accuracy": row.test_accuracy,
        "owner": mark,
        "problem": row.read_error or row.file_error,
    }
