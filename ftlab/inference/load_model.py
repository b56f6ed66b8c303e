"""Loading of a run's weights, or of the untrained default, as a `Predictor` that is kept in memory."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from ftlab.config import backbones
from ftlab.config.backbones import BackboneSpec
from ftlab.core import messages
from ftlab.core.errors import RunError
from ftlab.data.dataset import class_names
from ftlab.data.dataset.class_names import DisplayNames
from ftlab.data.isolation import isolated
from ftlab.data.transforms import preprocess
from ftlab.data.transforms.preprocess import Preprocessing
from ftlab.inference import decision_rule
from ftlab.inference.predictor import Predictor
from ftlab.models import network, run_checkpoint, weights_file
from ftlab.models.heads import HeadSpec
from ftlab.models.network import Network
from ftlab.models.pretrained import imagenet_classes
from ftlab.runs.directory import Run


def load_predictor(run: Run | None, weights_choice: str = "best") -> Predictor:
    """Load the model of a run as it is so far.

    Models stay in memory and are loaded anew when the run has a better one, another `labels.csv`, or was evaluated. A
    `labels.csv` that cannot be read gives DataError; default weights that are missing give WeightsError.

    Args:
        run: a run of any status; None gives the untrained default with the 1000 classes of ImageNet.
        weights_choice: `best` by validation, or `last`: as the training left it.

    Returns:
        The model, shared by all callers.

    Raises:
        RunError: the run has no weights yet, or they are gone or damaged.
    """  # noqa: DOC502 (`make_no_weights_error` returns a RunError)
    isolated.get_shared_pool().prestart()  # while the model loads
    if run is None:
        return _load_untrained()
    weights_paths = (
        [run.best_weights_path] if weights_choice == "best" else [run.best_weights_path, run.last_checkpoint_path]
    )
    try:
        weights_mtimes = tuple(weights_path.stat().st_mtime_ns for weights_path in weights_paths)
    except OSError as cause:
        raise run.make_no_weights_error() from cause
    extra_paths = (run.path / class_names.LABELS_FILE_NAME, run.path / decision_rule.DECISION_FILENAME)
    return _load_trained(
        run.path,
        weights_choice,
        weights_mtimes,
        tuple(extra_path.stat().st_mtime_ns if extra_path.is_file() else 0 for extra_path in extra_paths),
    )


def read_display_names(run: Run) -> DisplayNames:
    """Read the names of a run's classes for people: from a `labels.csv` in it, else those stored with the weights.

    A list that cannot be read gives DataError, a missing or damaged `model.json` RunError.

    Args:
        run: a run of any status.

    Returns:
        Names by class and language; empty if there are none.
    """
    labels_path = run.path / class_names.LABELS_FILE_NAME
    display_names: DisplayNames = class_names.read_display_names(labels_path) if labels_path.is_file() else {}
    stored_names = run.read_json("model.json").get("names")
    # Names for people are worth less than the model: damaged ones are left out.
    return display_names or (stored_names if class_names.is_display_names(stored_names) else {})


@lru_cache(maxsize=1)
def _load_untrained() -> Predictor:
    spec = backbones.get_backbone_spec(backbones.DEFAULT_BACKBONE)
    net = network.build_network(spec, None, pretrained=True)
    return Predictor(
        net,
        spec,
        preprocess.from_spec(spec),
        imagenet_classes.load_imagenet_names(),
        messages.get_text("model.untrained", title=spec.title),
    )


@lru_cache(maxsize=4)
def _load_trained(
    run_path: Path, weights_choice: str, _weights_mtimes: tuple[int, ...], _extra_mtimes: tuple[int, ...]
) -> Predictor:
    """Load a run's model; the modification times (nanoseconds) are part of the cache's key and otherwise unused.

    Args:
        run_path: folder of the run.
        weights_choice: `best` or `last`.
        _weights_mtimes: of the weights files.
        _extra_mtimes: of `labels.csv` and `decision.json`, 0 where there is none.

    Returns:
        The model.

    Raises:
        RunError: a file of the run is damaged, or does not belong to the others.
    """  # noqa: DOC501 (`make_damage_error` returns a RunError)
    run = Run(run_path)
    spec, head_spec, prep = _parse_model_file(run)
    classes = run_checkpoint.read_class_names(run)
    net = network.build_network(spec, len(classes), pretrained=False, head_spec=head_spec)
    try:
        tensors, header = weights_file.load_tensors(run.best_weights_path)
        net.load_state_dict(tensors)
    except (weights_file.CorruptFileError, OSError, RuntimeError) as cause:
        raise run_checkpoint.make_damage_error(run, run.best_weights_path, cause) from cause
    # Weights are bound to the `model.json` they were saved with: with another one they would name the wrong classes.
    if header.get("model", "") not in ("", run.compute_sha256("model.json")):
        raise RunError("run.model", run=run.name)
    title_values = {"title": spec.title, "mode": run.find_mode()}
    if weights_choice == "last":
        title = messages.get_text("model.last", **title_values, epoch=_load_last_weights(run, net))
    else:
        percent = f"{100 * header['val_accuracy']:.1f}"
        title = messages.get_text("model.trained", **title_values, epoch=header["epoch"], percent=percent)
    # Temperature and threshold were chosen for the best weights.
    decision = decision_rule.read_decision(run) if weights_choice == "best" else None
    return Predictor(net, spec, prep, classes, title, read_display_names(run), decision)


def _parse_model_file(run: Run) -> tuple[BackboneSpec, HeadSpec, Preprocessing]:
    """Return what the `model.json` of a run says of its network and of the images that it was trained with.

    Args:
        run: the run.

    Returns:
        Backbone, head and preprocessing.

    Raises:
        RunError: the file is missing or damaged.
    """
    model_info = run.read_json("model.json")
    try:
        # A run stores its backbone's spec, for any model of timm may be one; runs of older versions store the name.
        spec = (
            backbones.spec_from_json(model_info["row"])
            if "row" in model_info
            else backbones.get_backbone_spec(model_info["backbone"])
        )
        prep = preprocess.from_json(model_info["preprocessing"])
        return spec, HeadSpec.from_json(model_info.get("head", {})), prep
    except (KeyError, TypeError, ValueError, AttributeError) as cause:
        raise RunError("run.file", run=run.name, file="model.json") from cause


def _load_last_weights(run: Run, net: Network) -> int:
    """Overwrite the best trainable weights of a network with those of the last step.

    What is frozen is the same in both, and the checkpoint does not hold it.

    Args:
        run: whose checkpoint is read.
        net: with the run's best weights.

    Returns:
        The epoch of the checkpoint.

    Raises:
        RunError: there is no checkpoint, or it is damaged.
    """  # noqa: DOC501 (`make_damage_error` returns a RunError)
    last_checkpoint = run_checkpoint.load_newest_checkpoint(run, lambda position: int(position.get("epoch", 0)))
    if last_checkpoint is None:
        raise RunError("run.no_weights", run=run.name)
    try:
        net.load_state_dict({**net.state_dict(), **last_checkpoint.eval_weights})
    except RuntimeError as cause:
        raise run_checkpoint.make_damage_error(run, last_checkpoint.path, cause) from cause
    return last_checkpoint.train_state
