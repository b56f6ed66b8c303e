"""The seven endpoints: their names, parameters and descriptions are what clients see, and stay as they are.

Each handler checks what was sent, and calls what the page calls for the same: rights, queue and limits are decided
there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradio.events import api

from ftlab.config.train_config import FIELDS
from ftlab.core.errors import ConfigError
from ftlab.inference.cam_options import CAM_METHODS, CamOptions
from ftlab.server import stop_route
from ftlab.server.people.rights import RunAction
from ftlab.server.profile import ServerProfile
from ftlab.ui.api import answers, refusals
from ftlab.ui.api.call_values import check_count, check_flag, check_text
from ftlab.ui.api.sent_files import open_sent_image
from ftlab.ui.api.sent_settings import parse_data, parse_settings, unpack_sent_zip
from ftlab.ui.common import data_choice, run_status
from ftlab.ui.predict import cam_options
from ftlab.ui.predict.actions import UNTRAINED_MODEL, PredictActions
from ftlab.ui.predict.answer_threads import AnswerThreads
from ftlab.ui.runs.listing import RunListing

if TYPE_CHECKING:  # torch is imported by the first request, not by the page.
    from ftlab.inference.predictor import Predictor

DEFAULT_TOP_K, MAX_TOP_K = 5, 1000
"""Classes in an answer."""
DEFAULT_RUN_COUNT, MAX_RUN_COUNT = 50, 1000
"""Runs in an answer."""
ENDPOINT_NAMES = ("scan", "start", "status", "stop", "predict", "explain", "runs")
"""Names of the endpoints, and of the tools of the Model Context Protocol."""


class Endpoints:
    """Handlers of the endpoints. One instance per server: it holds no state of any visitor.

    Gradio makes the descriptions of the endpoints and of their parameters of the docstrings: a parameter is one line.
    """

    def __init__(self, profile: ServerProfile) -> None:
        """Create the handlers of a server."""
        self._profile = profile
        self._predict_actions = PredictActions(profile)
        self._train_actions = self._predict_actions.train_actions
        self._listing = RunListing(profile)

    def scan(
        self, data: str, val_share: float = FIELDS["val_share"][1], test_share: float = FIELDS["test_share"][1]
    ) -> dict[str, Any]:
        """Scan a data set of images: classes, number of images by split, and files that cannot be used.

        Args:
            data: a sample set (shapes, shortcut), a folder on the server, or the path of a zip that was uploaded.
            val_share: fraction of the images for validation, where the folders have no such split.
            test_share: fraction of the images for the test, likewise.

        Returns:
            data (for start), images, splits, random_splits, reading, classes, problems, problem_count.
        """
        name = unpack_sent_zip(self._profile, data)
        source = parse_data(self._profile, name, val_share, test_share)
        return answers.describe_catalog(data_choice.scan_source(source), name)

    def start(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Start a training, or queue it while another one runs. Ask status for its progress.

        Args:
            settings: data (as for scan) and any setting by name, as backbone, mode (frozen, full, scratch) or epochs.

        Returns:
            The answer of status.
        """
        source, config = parse_settings(self._profile, settings)
        return self._describe_run(self._train_actions.start_training(config, source).name)

    def status(self, run: str) -> dict[str, Any]:
        """Say what a training is doing: state, epoch, metrics, time left, place in the queue.

        Args:
            run: name of the run, as start and runs tell it.

        Returns:
            run, title, status, state, epoch, epochs, step, steps, metrics, best, seconds_left, queue_place and others.
        """
        return self._describe_run(check_text("run", run))

    def stop(self, run: str, by_force: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002 (an argument of calls)
        """Stop a training at its next step and keep its best model, or take it out of the queue.

        Args:
            run: name of the run.
            by_force: end its process, where it does not react.

        Returns:
            The answer of status.
        """
        name = check_text("run", run)
        person = self._train_actions.get_person()
        stop_route.stop_run(self._profile, person, name, by_force=check_flag("by_force", by_force))
        return self._describe_run(name)

    def predict(self, image: str, run: str = "", top_k: int = DEFAULT_TOP_K) -> dict[str, Any]:
        """Predict the most probable classes of an image.

        Args:
            image: a data URL (data:image/png;base64,...), or the path of an upload.
            run: name of the run whose model answers; empty for the model without fine-tuning (1000 ImageNet classes).
            top_k: number of classes in the answer.

        Returns:
            model, run, classes (name, display_name, probability), class_count, rejected, threshold.
        """
        count = check_count("top_k", top_k, DEFAULT_TOP_K, MAX_TOP_K)
        source, name = open_sent_image(self._profile, image), check_text("run", run)
        predictor = self._predict_actions.load_predictor(name or UNTRAINED_MODEL)
        return answers.describe_prediction(predictor, predictor.predict(source, count), name, count)

    def explain(
        self,
        image: str,
        run: str = "",
        class_name: str = "",
        method: str = CAM_METHODS[0],
        top_k: int = DEFAULT_TOP_K,
    ) -> dict[str, Any]:
        """Predict an image, and show where in it the evidence for a class lies (class activation map).

        Args:
            image: a data URL (data:image/png;base64,...), or the path of an upload.
            run: name of the run whose model answers; empty for the model without fine-tuning (1000 ImageNet classes).
            class_name: name of the class; empty for the most probable one.
            method: grad_cam, grad_cam_pp, hires_cam or layer_cam.
            top_k: number of classes in the answer.

        Returns:
            The answer of predict, and explained, method, layer, has_evidence, map, image_size, visible_box, overlay.
        """
        count = check_count("top_k", top_k, DEFAULT_TOP_K, MAX_TOP_K)
        source, name = open_sent_image(self._profile, image), check_text("run", run)
        options = _parse_method(check_text("method", method))
        predictor = self._predict_actions.load_predictor(name or UNTRAINED_MODEL)
        class_index = _find_class(predictor, check_text("class_name", class_name))
        # The explained class may be anywhere among the ranked ones.
        scores, explanation = predictor.predict_and_explain(
            source, class_index, k=len(predictor.class_names), cam_options=options
        )
        return {
            **answers.describe_prediction(predictor, scores, name, count),
            **answers.describe_explanation(predictor, scores, explanation),
        }

    def runs(self, limit: int = DEFAULT_RUN_COUNT) -> list[dict[str, Any]]:
        """List the runs that you may see, newest first.

        Args:
            limit: number of runs in the answer.

        Returns:
            Of each: run, title, started, status, data, backbone, mode, best_val_accuracy, test_accuracy and others.
        """
        rows = self._listing.load_rows()[: check_count("limit", limit, DEFAULT_RUN_COUNT, MAX_RUN_COUNT)]
        marks = self._listing.find_owner_marks(rows, in_trash=False)
        return [answers.describe_row(row, marks.get(row.name, "")) for row in rows]

    def _describe_run(self, name: str) -> dict[str, Any]:
        """Return the answer of `status`."""
        run = self._train_actions.get_run(name, RunAction.LOOK)
        watcher = run_status.watch_run(run)
        return answers.describe_run(run, watcher.take_snapshot(0.0), watcher.read_history())


def register_endpoints(profile: ServerProfile, answer_threads: AnswerThreads) -> None:
    """Register the endpoints in the current Gradio context, after all events of the page.

    Args:
        profile: profile of the server.
        answer_threads: of the page's Predict tab: answers to programs count towards the same bounds.
    """
    handlers = Endpoints(profile)
    # Scans take long: they must hold up neither answers, nor the question whether a training is still at work.
    scan_threads, command_threads = AnswerThreads(), AnswerThreads()
    threads = {"predict": answer_threads, "explain": answer_threads, "scan": scan_threads}
    for name in ENDPOINT_NAMES:
        handler = refusals.guard_handler(getattr(handlers, name))
        answer_aside = threads.get(name, command_threads).run_aside(handler, refusals.refuse_busy)
        # Without Gradio's queue: by MCP, a queued event is a request of the server to itself, in nobody's name.
        api(answer_aside, api_name=name, queue=False, concurrency_limit=None)


def _parse_method(method: str) -> CamOptions:
    """Return the options of a method; the default one for an empty name.

    Raises:
        ConfigError: there is no such method.
    """
    if method and method not in CAM_METHODS:
        raise ConfigError("config.choice", name="method", value=method[:80], choices=", ".join(CAM_METHODS))
    return CamOptions(method or CAM_METHODS[0])


def _find_class(predictor: Predictor, class_name: str) -> int | None:
    """Return the index of a class by its name or its name for people; None for the most probable one.

    Raises:
        ConfigError: the model has no such class.
    """
    if not class_name:
        return None
    if class_name in predictor.class_names:
        return predictor.class_names.index(class_name)
    index = cam_options.find_class(cam_options.get_model_menus(predictor), class_name)
    if index is None:
        raise ConfigError("config.class", name=class_name[:80], names=", ".join(predictor.class_names[:20]))
    return index
