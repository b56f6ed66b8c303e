"""Initial weights in place of the pretrained ones: a foreign checkpoint, or the best weights of another run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from ftlab.config import backbones
from ftlab.config.backbones import BackboneSpec
from ftlab.config.train_config import TrainConfig
from ftlab.core import messages
from ftlab.core.errors import RunError, WeightsError
from ftlab.models import heads, network, run_checkpoint, weights_file
from ftlab.models.network import Network
from ftlab.models.pretrained import checkpoint_import, imagenet_classes, key_mapping, key_search
from ftlab.models.pretrained.checkpoint_import import ForeignCheckpoint
from ftlab.models.pretrained.key_mapping import KeyMapping
from ftlab.runs.directory import Run
from ftlab.runs.events import LogMessage

_INITIAL_WEIGHTS_NAME = "start.safetensors"
"""File with the network as it started, in a run whose checkpoints contain the head only."""
_MAX_SHOWN_CLASSES = 10
"""Number of classes named in a message."""
_WARNING_CODES = ("init_missing", "init_mismatched", "init_head_out", "init_names")


@dataclass(frozen=True)
class InitialWeights:
    """Weights that the network starts from.

    Attributes:
        tensors: by their names in the network.
        notes: messages for the log.
        replaces_pretrained: they cover the whole backbone, so that pretrained weights are not needed.
        save_to_run: the run must keep the network as it starts, for its checkpoints do not contain the backbone.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    notes: tuple[LogMessage, ...] = ()
    replaces_pretrained: bool = False
    save_to_run: bool = False

    def apply_to_network(self, net: Network, run: Run, accelerator: Accelerator) -> None:
        """Load the weights into the network, and save it to the run if necessary.

        A folder that cannot be written raises a `RunError`.

        Args:
            net: the network.
            run: the run directory.
            accelerator: only rank 0 writes.
        """
        if self.tensors:
            net.load_state_dict({**net.state_dict(), **self.tensors})
        if self.save_to_run and accelerator.is_main_process:
            with run.translate_write_errors():
                weights_file.save_tensors(run.path / _INITIAL_WEIGHTS_NAME, net.state_dict(), {})


def _describe_class_matches(class_names: tuple[str, ...]) -> LogMessage:
    """Return the note on which classes start with the weights of a class of ImageNet."""
    matches = imagenet_classes.match_imagenet_classes(class_names)
    match_texts = [
        f"{class_names[class_index]} → {imagenet_classes.load_imagenet_names()[imagenet_index]} ({imagenet_index})"
        for class_index, imagenet_index in matches.items()
    ]
    names = ", ".join(match_texts[:_MAX_SHOWN_CLASSES]) + (" …" if len(match_texts) > _MAX_SHOWN_CLASSES else "")
    values = {"count": len(matches), "classes": len(class_names), "names": names}
    return LogMessage(code="imagenet", values=values) if matches else LogMessage(code="imagenet_none", level="warning")


def prepare_initial_weights(
    config: TrainConfig, run: Run, class_names: tuple[str, ...], accelerator: Accelerator, *, resumed: bool
) -> InitialWeights | None:
    """Read the weights that `init_from` or `head_init` of the configuration name.

    The file is needed until the run has a checkpoint of its own: a resumed run does not read it. A file that cannot be
    used raises a `WeightsError`, a run that cannot be used a `RunError`.

    Args:
        config: names the file or run, and the part of the network to initialize.
        run: the run directory; the file's hash is recorded there.
        class_names: names of the classes, in order.
        accelerator: only rank 0 writes.
        resumed: the run has a checkpoint.

    Returns:
        The weights; None if the network starts from the pretrained or random weights of the configuration.

    Raises:
        RunError: the file with the network as it started is damaged.
    """  # noqa: DOC501, DOC502 (`make_damage_error` returns a RunError)
    if config.head_init == "imagenet":
        return InitialWeights(notes=() if resumed else (_describe_class_matches(class_names),))
    if not config.init_from:
        return None
    # A resumed run of frozen mode: its checkpoints contain the head only, and the foreign file may be gone.
    initial_path = run.path / _INITIAL_WEIGHTS_NAME
    if initial_path.is_file():
        try:
            return InitialWeights(weights_file.load_tensors(initial_path)[0], replaces_pretrained=True)
        except (weights_file.CorruptFileError, OSError) as cause:
            raise run_checkpoint.make_damage_error(run, initial_path, cause) from cause
    # The checkpoint contains the whole network.
    if resumed and config.mode != "frozen":
        return InitialWeights(replaces_pretrained=True)
    return _map_init_file(config, run, class_names, accelerator)


def _map_init_file(
    config: TrainConfig, run: Run, class_names: tuple[str, ...], accelerator: Accelerator
) -> InitialWeights:
    """Read the file or run that `init_from` names, and map its tensors to those of the network.

    Args:
        config: names the file and the part of the network to initialize.
        run: the run directory.
        class_names: names of the classes, in order.
        accelerator: only rank 0 writes.

    Returns:
        The weights that were found, with notes on all others.

    Raises:
        WeightsError: the file has changed since the run began, or matches too little.
    """
    spec = backbones.get_backbone_spec(config.backbone)
    foreign_checkpoint, source_path, foreign_names = _read_init_source(Path(config.init_from), class_names)
    digest = checkpoint_import.compute_sha256(source_path)
    # A run that was stopped before its first checkpoint must start from the same weights again.
    recorded_digest = run.read_json("config.json").get("init", {}).get("sha256", digest)
    if recorded_digest != digest:
        raise WeightsError("init.changed", file=source_path, run=run.name)
    init_part = config.init_part
    mapping = key_mapping.map_checkpoint_keys(
        foreign_checkpoint,
        _build_meta_tensors(spec, len(class_names), heads.HeadSpec.from_config(config)),
        spec.head,
        init_part,
        checkpoint_import.parse_renames(config.rename_keys),
    )
    reports = [(f"init_{key}", values) for key, values in mapping.summarize_match(init_part)]
    if foreign_names and init_part != "backbone":
        reports.insert(1, ("init_names", {"names": foreign_names}))
    if not mapping.is_sufficient:
        summary = " ".join(messages.get_text(f"log.{code}", **values) for code, values in reports[:4])
        raise WeightsError("init.little", file=source_path, title=spec.title, said=summary)
    if accelerator.is_main_process:
        init_facts = {
            "file": str(source_path),
            "sha256": digest,
            "matched": mapping.matched_count,
            "wanted": len(mapping.target_keys),
        }
        run.write_json("config.json", {**run.read_json("config.json"), "init": init_facts})
    init_note = LogMessage(code="init", values={"file": str(source_path), "sha256": digest[:12]})
    notes = (
        LogMessage(code=code, values=values, level="warning" if code in _WARNING_CODES else "info")
        for code, values in reports
    )
    return InitialWeights(
        mapping.tensors,
        (init_note, *notes),
        replaces_pretrained=_covers_backbone(mapping, init_part),
        save_to_run=config.mode == "frozen",
    )


def _read_init_source(source_path: Path, class_names: tuple[str, ...]) -> tuple[ForeignCheckpoint, Path, str]:
    """Read a foreign checkpoint, or the best weights of another run with the rows of its head in this run's order.

    Args:
        source_path: a file, or the folder of a run.
        class_names: names of this run's classes, in order.

    Returns:
        The tensors, the file, and some classes of its head if they are others than this run's; the head is left out
        then.

    Raises:
        RunError: the folder is no run with weights, or the weights are damaged.
        WeightsError: there is no such file.
    """  # noqa: DOC501 (`make_damage_error` returns a RunError)
    run = Run(source_path if source_path.is_dir() else source_path.parent)
    is_own_run = (
        run.best_weights_path.is_file()
        and (run.path / "model.json").is_file()
        and source_path in (run.path, run.best_weights_path)
    )
    if not is_own_run:
        if source_path.is_dir():
            raise RunError("run.no_weights", run=source_path.name)
        if not source_path.is_file():
            raise WeightsError("init.missing", file=source_path)
        return checkpoint_import.read_checkpoint(source_path), source_path, ""
    try:
        tensors = weights_file.load_tensors(run.best_weights_path)[0]
    except (weights_file.CorruptFileError, OSError) as cause:
        raise run_checkpoint.make_damage_error(run, run.best_weights_path, cause) from cause
    adapted_tensors, foreign_names = _adapt_head(tensors, run.read_json("model.json")["classes"], class_names)
    return ForeignCheckpoint(adapted_tensors), run.best_weights_path, foreign_names


def _adapt_head(
    tensors: dict[str, Tensor], source_classes: list[str], class_names: tuple[str, ...]
) -> tuple[dict[str, Tensor], str]:
    """Put the rows of a run's head in the order of this run's classes, or leave out a head for other classes.

    Args:
        tensors: of the other run, by name.
        source_classes: its classes, in order.
        class_names: names of this run's classes, in order.

    Returns:
        The tensors, and some classes of the head if it was left out; else an empty string.
    """
    # Logits of other classes mean nothing here.
    head_keys = {name for name in tensors if name.startswith(("head.", "auxiliary."))}
    if sorted(source_classes) != sorted(class_names):
        shown_names = ", ".join(source_classes[:5]) + (" …" if len(source_classes) > 5 else "")
        return {name: tensor for name, tensor in tensors.items() if name not in head_keys}, shown_names
    # The same classes, perhaps in another order.
    class_order = torch.tensor([source_classes.index(name) for name in class_names])
    last_layer = key_search.get_classifier_path(tensors)
    row_keys = {name for name in (f"{last_layer}.weight", f"{last_layer}.bias") if name in tensors}
    reordered_tensors = {
        name: _reorder_rows(tensor_rows, class_order) if name in row_keys else tensor_rows
        for name, tensor_rows in tensors.items()
    }
    return reordered_tensors, ""


def _reorder_rows(rows: Tensor, class_order: Tensor) -> Tensor:
    """Reorder a tensor with one row for each class; of a single logit for two classes, change the sign.

    Args:
        rows: weight [K, D] or bias [K] of the last layer; one row for a single logit.
        class_order: int64 [K], old index of each class.

    Returns:
        The tensor in the new order.
    """
    if len(rows) == len(class_order):
        return rows[class_order]
    return rows if class_order[0] == 0 else -rows


def _covers_backbone(mapping: KeyMapping, init_part: str) -> bool:
    """Return whether every tensor of the backbone was found in the file."""
    return init_part != "head" and not any(
        name.startswith("backbone.")
        for name in (*mapping.missing_keys, *(name for name, *_ in mapping.mismatched_keys))
    )


def _build_meta_tensors(spec: BackboneSpec, class_count: int, head_spec: heads.HeadSpec) -> dict[str, Tensor]:
    """Return the network's tensors on the meta device, which allocates nothing.

    Models whose constructor computes with values cannot be built there, and are built on the CPU.

    Args:
        spec: the backbone.
        class_count: number of classes.
        head_spec: the head.
    """
    try:
        with torch.device("meta"):
            return network.build_network(spec, class_count, pretrained=False, head_spec=head_spec).state_dict()
    except (RuntimeError, NotImplementedError):
        return network.build_network(spec, class_count, pretrained=False, head_spec=head_spec).state_dict()
