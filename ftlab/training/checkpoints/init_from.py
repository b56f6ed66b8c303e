"""What a training starts from in place of the pretrained weights: a foreign checkpoint, or the best of an own run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from ftlab.config import backbones
from ftlab.config.backbones import Backbone
from ftlab.config.train_config import TrainConfig
from ftlab.core import messages
from ftlab.core.errors import RunError, WeightsError
from ftlab.models import heads, network, weights_file
from ftlab.models.network import Network
from ftlab.models.pretrained import checkpoint_import, imagenet_classes, key_mapping
from ftlab.models.pretrained.checkpoint_import import Stored
from ftlab.models.pretrained.key_mapping import Plan
from ftlab.runs.directory import Run
from ftlab.runs.events import Note
from ftlab.training.checkpoints import checkpoint

_KEPT = "start.safetensors"
"""The network as it started, in a run that saves its head alone."""
_SHOWN = 10
"""Classes named in a sentence."""
_WARNING = ("init_missing", "init_mismatched", "init_head_out", "init_names")


@dataclass(frozen=True)
class Start:
    """What goes into the network before the first step.

    Attributes:
        tensors: by the network's names.
        notes: what a person should know of them; told before anything starts.
        whole: nothing is left for pretrained weights to give.
        keep: the run must keep what it started from, for its checkpoints do not hold it.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    whole: bool = False
    keep: bool = False

    def apply(self, net: Network, run: Run, accelerator: Accelerator) -> None:
        """Put them in, and keep what must be kept.

        Raises:
            RunError: the run's folder cannot be written.
        """
        if self.tensors:
            net.load_state_dict({**net.state_dict(), **self.tensors})
        if self.keep and accelerator.is_main_process:
            with run.writing():
                weights_file.write(run.path / _KEPT, net.state_dict(), {})


def _matches(classes: tuple[str, ...]) -> Note:
    """Which classes start as one of ImageNet's."""
    found = imagenet_classes.match(classes)
    shown = [f"{classes[mine]} → {imagenet_classes.categories()[theirs]} ({theirs})" for mine, theirs in found.items()]
    names = ", ".join(shown[:_SHOWN]) + (" …" if len(shown) > _SHOWN else "")
    values = {"count": len(found), "classes": len(classes), "names": names}
    return Note(code="imagenet", values=values) if found else Note(code="imagenet_none", level="warning")


def prepare(
    config: TrainConfig, run: Run, classes: tuple[str, ...], resumed: bool, accelerator: Accelerator
) -> Start | None:
    """What `config.init` gives, or what `config.head_init` finds; None where the start is the usual one.

    The file is needed until the run has a state of its own: a resumed run does not look at it.

    Args:
        classes: names of the classes, in order.
        resumed: whether the run has a state to go on from.

    Raises:
        WeightsError: the file cannot be read, has changed since the run began, or gives too little.
        RunError: the run it names has no weights, or they are damaged.
    """
    if config.head_init == "imagenet":
        return Start(notes=() if resumed else (_matches(classes),))
    if not config.init:
        return None
    kept = run.path / _KEPT
    if kept.is_file():
        try:
            return Start(weights_file.load(kept)[0], whole=True)
        except (weights_file.Broken, OSError) as cause:
            raise checkpoint.damaged(run, kept, cause) from cause
    frozen = config.mode == "frozen"
    if resumed and not frozen:
        return Start(whole=True)
    row = backbones.get(config.backbone)
    stored, file, foreigners = _opened(Path(config.init), classes)
    digest = checkpoint_import.fingerprint(file)
    begun = run.read("config.json").get("init", {}).get("sha256", digest)
    if begun != digest:
        raise WeightsError("init.changed", file=file, run=run.name)
    part = config.init_part
    plan = key_mapping.plan(
        stored,
        _shapes(row, len(classes), heads.Plan.of(config)),
        row.head,
        part,
        checkpoint_import.renames(config.rename),
    )
    told = [(f"init_{key}", values) for key, values in plan.report(part)]
    if foreigners and part != "backbone":
        told.insert(1, ("init_names", {"names": foreigners}))
    if not plan.enough:
        said = " ".join(messages.text(f"log.{code}", **values) for code, values in told[:4])
        raise WeightsError("init.little", file=file, title=row.title, said=said)
    if accelerator.is_main_process:
        facts = {"file": str(file), "sha256": digest, "matched": plan.matched, "wanted": len(plan.wanted)}
        run.write("config.json", {**run.read("config.json"), "init": facts})
    first = Note(code="init", values={"file": str(file), "sha256": digest[:12]})
    notes = (Note(code=code, values=values, level="warning" if code in _WARNING else "info") for code, values in told)
    return Start(plan.tensors, (first, *notes), whole=_whole(plan, part), keep=frozen)


def _opened(place: Path, classes: tuple[str, ...]) -> tuple[Stored, Path, str]:
    """The tensors, the file they came from, and the classes of its head where these are known and others."""
    run = Run(place if place.is_dir() else place.parent)
    own = run.best.is_file() and (run.path / "model.json").is_file() and place in (run.path, run.best)
    if not own:
        if place.is_dir():
            raise RunError("run.no_weights", run=place.name)
        if not place.is_file():
            raise WeightsError("init.missing", file=place)
        return checkpoint_import.read(place), place, ""
    try:
        tensors = weights_file.load(run.best)[0]
    except (weights_file.Broken, OSError) as cause:
        raise checkpoint.damaged(run, run.best, cause) from cause
    theirs = run.read("model.json")["classes"]
    head = {name for name in tensors if name.startswith(("head.", "auxiliary."))}
    if sorted(theirs) != sorted(classes):
        few = ", ".join(theirs[:5]) + (" …" if len(theirs) > 5 else "")
        return Stored({name: tensor for name, tensor in tensors.items() if name not in head}), run.best, few
    order = torch.tensor([theirs.index(name) for name in classes])
    last = key_mapping.last_layer(tensors)
    rows = {name for name in (f"{last}.weight", f"{last}.bias") if name in tensors}
    return Stored({name: _turned(t, order) if name in rows else t for name, t in tensors.items()}), run.best, ""


def _turned(rows: Tensor, order: Tensor) -> Tensor:
    """A tensor with a row a class, in another order. One logit that tells two classes apart turns its sign."""
    if len(rows) == len(order):
        return rows[order]
    return rows if order[0] == 0 else -rows


def _whole(plan: Plan, part: str) -> bool:
    return part != "head" and not any(
        name.startswith("backbone.") for name in (*plan.missing, *(name for name, *_ in plan.mismatched))
    )


def _shapes(row: Backbone, classes: int, head: heads.Plan) -> dict[str, Tensor]:
    """The network's tensors without their numbers; with some where a model's code asks for them."""
    try:
        with torch.device("meta"):
            return network.build(row, classes, pretrained=False, head=head).state_dict()
    except (RuntimeError, NotImplementedError):
        return network.build(row, classes, pretrained=False, head=head).state_dict()
