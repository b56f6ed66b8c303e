"""What a training starts from in place of the pretrained weights: a foreign checkpoint, or the best of an own run."""

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
from ftlab.models import heads, network, weights_file
from ftlab.models.network import Network
from ftlab.models.pretrained import checkpoint_import, imagenet_classes, key_mapping
from ftlab.models.pretrained.checkpoint_import import ForeignCheckpoint
from ftlab.models.pretrained.key_mapping import KeyMapping
from ftlab.runs.directory import Run
from ftlab.runs.events import LogMessage
from ftlab.training.checkpoints import checkpoint

_INITIAL_WEIGHTS_NAME = "start.safetensors"
"""The network as it started, in a run that saves its head alone."""
_MAX_SHOWN_CLASSES = 10
"""Classes named in a sentence."""
_WARNING_CODES = ("init_missing", "init_mismatched", "init_head_out", "init_names")


@dataclass(frozen=True)
class InitialWeights:
    """What goes into the network before the first step.

    Attributes:
        tensors: by the network's names.
        notes: what a person should know of them; told before anything starts.
        replaces_pretrained: nothing is left for pretrained weights to give.
        save_to_run: the run must keep what it started from, for its checkpoints do not hold it.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    notes: tuple[LogMessage, ...] = ()
    replaces_pretrained: bool = False
    save_to_run: bool = False

    def apply_to_network(self, net: Network, run: Run, accelerator: Accelerator) -> None:
        """Put them in, and keep what must be kept.

        Raises:
            RunError: the run's folder cannot be written.
        """
        if self.tensors:
            net.load_state_dict({**net.state_dict(), **self.tensors})
        if self.save_to_run and accelerator.is_main_process:
            with run.translate_write_errors():
                weights_file.save_tensors(run.path / _INITIAL_WEIGHTS_NAME, net.state_dict(), {})


def _describe_class_matches(class_names: tuple[str, ...]) -> LogMessage:
    """Which classes start as one of ImageNet's."""
    matches = imagenet_classes.match_imagenet_classes(class_names)
    match_texts = [
        f"{class_names[class_index]} → {imagenet_classes.load_imagenet_names()[imagenet_index]} ({imagenet_index})"
        for class_index, imagenet_index in matches.items()
    ]
    names = ", ".join(match_texts[:_MAX_SHOWN_CLASSES]) + (" …" if len(match_texts) > _MAX_SHOWN_CLASSES else "")
    values = {"count": len(matches), "classes": len(class_names), "names": names}
    return LogMessage(code="imagenet", values=values) if matches else LogMessage(code="imagenet_none", level="warning")


def prepare_initial_weights(
    config: TrainConfig, run: Run, class_names: tuple[str, ...], resumed: bool, accelerator: Accelerator
) -> InitialWeights | None:
    """What `config.init` gives, or what `config.head_init` finds; None where the start is the usual one.

    The file is needed until the run has a state of its own: a resumed run does not look at it.

    Args:
        class_names: names of the classes, in order.
        resumed: whether the run has a state to go on from.

    Raises:
        WeightsError: the file cannot be read, has changed since the run began, or gives too little.
        RunError: the run it names has no weights, or they are damaged.
    """
    if config.head_init == "imagenet":
        return InitialWeights(notes=() if resumed else (_describe_class_matches(class_names),))
    if not config.init:
        return None
    initial_path = run.path / _INITIAL_WEIGHTS_NAME
    if initial_path.is_file():
        try:
            return InitialWeights(weights_file.load_tensors(initial_path)[0], replaces_pretrained=True)
        except (weights_file.CorruptFileError, OSError) as cause:
            raise checkpoint.make_damage_error(run, initial_path, cause) from cause
    frozen = config.mode == "frozen"
    if resumed and not frozen:
        return InitialWeights(replaces_pretrained=True)
    spec = backbones.get_backbone_spec(config.backbone)
    foreign_checkpoint, source_path, foreign_names = _read_init_source(Path(config.init), class_names)
    digest = checkpoint_import.compute_sha256(source_path)
    recorded_digest = run.read_json("config.json").get("init", {}).get("sha256", digest)
    if recorded_digest != digest:
        raise WeightsError("init.changed", file=source_path, run=run.name)
    init_part = config.init_part
    mapping = key_mapping.map_checkpoint_keys(
        foreign_checkpoint,
        _build_meta_tensors(spec, len(class_names), heads.HeadSpec.from_config(config)),
        spec.head,
        init_part,
        checkpoint_import.parse_renames(config.rename),
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
        save_to_run=frozen,
    )


def _read_init_source(source_path: Path, class_names: tuple[str, ...]) -> tuple[ForeignCheckpoint, Path, str]:
    """The tensors, the file they came from, and the classes of its head where these are known and others."""
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
        raise checkpoint.make_damage_error(run, run.best_weights_path, cause) from cause
    source_classes = run.read_json("model.json")["classes"]
    head_keys = {name for name in tensors if name.startswith(("head.", "auxiliary."))}
    if sorted(source_classes) != sorted(class_names):
        shown_names = ", ".join(source_classes[:5]) + (" …" if len(source_classes) > 5 else "")
        return (
            ForeignCheckpoint({name: tensor for name, tensor in tensors.items() if name not in head_keys}),
            run.best_weights_path,
            shown_names,
        )
    class_order = torch.tensor([source_classes.index(name) for name in class_names])
    last_layer = key_mapping.get_classifier_path(tensors)
    row_keys = {name for name in (f"{last_layer}.weight", f"{last_layer}.bias") if name in tensors}
    return (
        ForeignCheckpoint(
            {
                name: _reorder_rows(tensor_rows, class_order) if name in row_keys else tensor_rows
                for name, tensor_rows in tensors.items()
            }
        ),
        run.best_weights_path,
        "",
    )


def _reorder_rows(rows: Tensor, class_order: Tensor) -> Tensor:
    """A tensor with a row a class, in another order. One logit that tells two classes apart turns its sign."""
    if len(rows) == len(class_order):
        return rows[class_order]
    return rows if class_order[0] == 0 else -rows


def _covers_backbone(mapping: KeyMapping, init_part: str) -> bool:
    return init_part != "head" and not any(
        name.startswith("backbone.")
        for name in (*mapping.missing_keys, *(name for name, *_ in mapping.mismatched_keys))
    )


def _build_meta_tensors(spec: BackboneSpec, class_count: int, head_spec: heads.HeadSpec) -> dict[str, Tensor]:
    """The network's tensors without their numbers; with some where a model's code asks for them."""
    try:
        with torch.device("meta"):
            return network.build_network(spec, class_count, pretrained=False, head_spec=head_spec).state_dict()
    except (RuntimeError, NotImplementedError):
        return network.build_network(spec, class_count, pretrained=False, head_spec=head_spec).state_dict()
