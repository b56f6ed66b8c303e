"""The format `hub`: `model.safetensors` in the names of timm or torchvision, and `config.json` as timm reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ftlab.core.errors import ExportError
from ftlab.data.images.decode import ImageArray
from ftlab.data.transforms.preprocess import Preprocessing
from ftlab.export import library_weights
from ftlab.export.exported_answer import ExportedAnswer, ExportedModel
from ftlab.export.formats import ExportOptions
from ftlab.export.hub import repository_card
from ftlab.export.library_weights import LibraryWeights
from ftlab.export.model_source import ModelSource
from ftlab.export.run_card import RunFacts, join_sections
from ftlab.models.pretrained import libraries
from ftlab.runs.history import History

WEIGHTS_NAME = "model.safetensors"
CONFIG_NAME = "config.json"


def write_files(source: ModelSource, folder: Path, options: ExportOptions) -> None:
    """Write weights and configuration; see `FormatModule.write_files`.

    Raises:
        ExportError: the library's architecture cannot express the network.
    """
    plain = library_weights.find_plain_weights(source)
    if plain is None:
        raise ExportError("export.no_plain", title=source.predictor.spec.title)
    # Each tensor of its own: safetensors refuses two names for the same memory.
    tensors = {name: tensor.detach().clone().contiguous() for name, tensor in plain.tensors.items()}
    if options.half_weights:
        tensors = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    save_file(tensors, folder / WEIGHTS_NAME, metadata={"format": "pt"})
    config_text = json.dumps(build_config(source, plain), ensure_ascii=False, indent=2)
    (folder / CONFIG_NAME).write_text(config_text + "\n", encoding="utf-8")


def build_config(source: ModelSource, plain: LibraryWeights) -> dict[str, Any]:
    """Return the `config.json` of a repository.

    Args:
        source: the trained model.
        plain: the library's module with the weights.

    Returns:
        The keys that timm reads, and under `ftlab` what it has no key for.
    """
    predictor = source.predictor
    prep, spec = predictor.prep, predictor.spec
    architecture, weights_tag = library_weights.get_architecture(source)
    first_conv = getattr(plain.module, "pretrained_cfg", {}).get("first_conv")
    return {
        "architecture": architecture,
        "num_classes": len(predictor.class_names),
        "num_features": spec.width,
        "label_names": list(predictor.class_names),
        "pretrained_cfg": {
            "tag": weights_tag or None,
            "custom_load": False,
            "input_size": [3, prep.side, prep.side],
            "fixed_input_size": spec.fixed_side,
            "interpolation": prep.interpolation,
            "crop_pct": prep.side / prep.resize,
            "crop_mode": "center" if prep.resize_mode == "short" else "squash",
            "mean": list(prep.mean),
            "std": list(prep.std),
            "num_classes": len(predictor.class_names),
            "pool_size": None,
            "first_conv": first_conv,
            "classifier": plain.classifier_path,
            "license": spec.licence.lower() or None,
        },
        "ftlab": {
            "library": spec.source,
            "resize": prep.resize,
            "temperature": source.temperature,
            "threshold": source.threshold,
        },
    }


def complete_card(card: str, source: ModelSource, folder: Path, facts: RunFacts, history: History) -> str:
    """Return the card with metadata, use and figures, which are written; see `FormatModule.complete_card`."""
    figures = repository_card.write_figures(folder, facts, history, source.predictor.title)
    front_matter = repository_card.build_front_matter(source, facts)
    return join_sections(front_matter, card, repository_card.describe_use(source), figures)


def open_model(folder: Path) -> ExportedModel:
    """Open a repository's files as another program does; see `FormatModule.open_model`.

    Args:
        folder: with the files.

    Returns:
        The model by its library and that library's transform.
    """
    config = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
    if config["ftlab"]["library"] == "timm":
        module, transform = _open_by_timm(folder)
    else:
        module, transform = _open_by_torchvision(folder, config)
    temperature = config["ftlab"]["temperature"]

    def answer(pixels: ImageArray) -> ExportedAnswer:
        with torch.no_grad():
            logits = module(transform(Image.fromarray(pixels))[None])[0]
        return ExportedAnswer((logits.double() / temperature).softmax(0).numpy())

    return answer


def _open_by_timm(folder: Path) -> tuple[nn.Module, Any]:
    """Return the module and the transform that timm makes of the files."""
    timm = libraries.import_library("timm")
    module = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    return module, timm.data.create_transform(**timm.data.resolve_model_data_config(module), is_training=False)


def _open_by_torchvision(folder: Path, config: dict[str, Any]) -> tuple[nn.Module, Any]:
    """Return torchvision's module with the weights, and torchvision's transform."""
    torchvision = libraries.import_library("torchvision")
    pretrained = config["pretrained_cfg"]
    has_auxiliary = config["architecture"] in ("googlenet", "inception_v3")
    options = {"init_weights": False} if has_auxiliary else {}
    module = torchvision.get_model(config["architecture"], weights=None, num_classes=config["num_classes"], **options)
    state: dict[str, Tensor] = module.state_dict()  # with versions of layouts, which MNASNet's modules ask for
    state.update(load_file(folder / WEIGHTS_NAME))
    module.load_state_dict(state)
    return module.eval(), _make_transform(
        Preprocessing(
            config["ftlab"]["resize"],
            pretrained["input_size"][1],
            pretrained["interpolation"],
            tuple(pretrained["mean"]),
            tuple(pretrained["std"]),
            "short" if pretrained["crop_mode"] == "center" else "squash",
        )
    )


def _make_transform(prep: Preprocessing) -> Any:
    """Return torchvision's transform of an image to a tensor, float32 [3, S, S]."""
    from torchvision import transforms

    sides = prep.resize if prep.resize_mode == "short" else (prep.resize, prep.resize)
    return transforms.Compose(
        [
            transforms.Resize(sides, transforms.InterpolationMode(prep.interpolation)),
            transforms.CenterCrop(prep.side),
            transforms.ToTensor(),
            transforms.Normalize(prep.mean, prep.std),
        ]
    )
