"""Initial weights in place of the pretrained ones: a foreign checkpoint, or the best weights of another run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from ftlab.config import backbones
from ftlab.config.backbones import BackboneSpec
from ftlab.config.train_config import TrainConfig
from ftlab.core import messages
from ftlab.core.errors import WeightsError
from ftlab.models import heads, network, run_checkpoint, weights_file
from ftlab.models.network import Network
from ftlab.models.pretrained import checkpoint_import, imagenet_classes, key_mapping
from ftlab.models.pretrained.checkpoint_import import ForeignCheckpoint
from ftlab.models.pretrained.head_rows import HeadFit
from ftlab.models.pretrained.key_mapping import KeyMapping
from ftlab.models.pretrained.stored_classes import ClassList
from ftlab.runs.directory import Run
from ftlab.runs.events import LogMessage

_INITIAL_WEIGHTS_NAME = "start.safetensors"
"""File with the network as it started, in a run whose checkpoints contain the head only."""
_MAX_SHOWN_CLASSES = 10
"""Number of classes named in a message."""
_WARNING_CODES = ("init_missing", "init_mismatched", "init_head_out", "init_names", "init_rows", "init_nonfinite")


@dataclass(frozen=True)
class InitialWeights:
    """Weights that the network starts from.

    Attributes:
        tensors: by their names in the network.
        notes: messages for the log.
        replaces_pretrained: they cover the whole backbone, so that pretrained weights are not needed.
        save_to_run: the run must keep the network as it starts, for its checkpoints do not contain the backbone.
        head_fit: how the classifier in the file fits the classes.
        row_tensors: by their names in the network, rows for the classes `head_fit.known_classes` only.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    notes: tuple[LogMessage, ...] = ()
    replaces_pretrained: bool = False
    save_to_run: bool = False
    head_fit: HeadFit = field(default_factory=HeadFit)
    row_tensors: Mapping[str, Tensor] = field(default_factory=dict)

    def apply_to_network(self, net: Network) -> None:
        """Load the weights into the network; classes that the file's head does not know keep their new rows."""
        state = net.state_dict()
        for name, rows in self.row_tensors.items():
            known_classes = torch.tensor(self.head_fit.known_classes, device=state[name].device)
            state[name] = state[name].index_copy(0, known_classes, rows.to(state[name].device))
        if self.tensors or self.row_tensors:
            net.load_state_dict({**state, **self.tensors})

    def save_start(self, net: Network, run: Run, accelerator: Accelerator) -> None:
        """Save the network as it starts to the run, if its checkpoints will not contain all of it.

        A folder that cannot be written raises a `RunError`.

        Args:
            net: the network, with these weights.
            run: the run directory.
            accelerator: only rank 0 writes.
        """
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
    foreign_checkpoint, source_path = _read_init_source(checkpoint_import.locate_init(config.init_from))
    digest = checkpoint_import.compute_sha256(source_path)
    # A run that was stopped before its first checkpoint must start from the same weights again.
    recorded = run.read_config_file()
    if recorded.get("init", {}).get("sha256", digest) != digest:
        raise WeightsError("init.changed", file=source_path, run=run.name)
    init_part = config.init_part
    mapping = key_mapping.map_checkpoint_keys(
        foreign_checkpoint,
        _build_meta_tensors(spec, len(class_names), heads.HeadSpec.from_config(config)),
        spec.head,
        init_part,
        checkpoint_import.parse_renames(config.rename_keys),
        class_names,
    )
    reports = [(f"init_{key}", values) for key, values in mapping.summarize_match(init_part)]
    if foreign_checkpoint.foreign_names:
        reports.append(("init_records", {"names": foreign_checkpoint.foreign_names}))
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
        run.write_json("config.json", {**recorded, "init": {**recorded.get("init", {}), **init_facts}})
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
        head_fit=mapping.head_fit,
        row_tensors=mapping.row_tensors,
    )


def _read_init_source(source_path: Path) -> tuple[ForeignCheckpoint, Path]:
    """Read a foreign checkpoint, or the best weights of another run with the names of its classes.

    Args:
        source_path: a file, or the folder of a run.

    Returns:
        The tensors, and the file.

    Raises:
        RunError: the folder is no run with weights, or the weights are damaged.
        WeightsError: there is no such file.
    """  # noqa: DOC501, DOC502 (`make_damage_error` and `make_no_weights_error` return a RunError)
    run = Run(source_path if source_path.is_dir() else source_path.parent)
    is_own_run = (
        run.best_weights_path.is_file()
        and (run.path / "model.json").is_file()
        and source_path in (run.path, run.best_weights_path)
    )
    if not is_own_run:
        if source_path.is_dir():
            raise Run(source_path).make_no_weights_error()
        if not source_path.is_file():
            raise WeightsError("init.missing", file=source_path)
        return checkpoint_import.read_checkpoint(source_path), source_path
    try:
        tensors = weights_file.load_tensors(run.best_weights_path)[0]
    except (weights_file.CorruptFileError, OSError) as cause:
        raise run_checkpoint.make_damage_error(run, run.best_weights_path, cause) from cause
    class_list = ClassList("model.json", run_checkpoint.read_class_names(run))
    return ForeignCheckpoint(tensors, class_lists=(class_list,)), run.best_weights_path


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
