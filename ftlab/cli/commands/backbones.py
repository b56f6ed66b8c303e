"""The commands `backbones` (list them) and `layers` (list the layers of one)."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict

from ftlab.cli.terminal.output import print_json, print_table
from ftlab.config import backbones as backbone_registry
from ftlab.core import messages
from ftlab.core.errors import ConfigError
from ftlab.models.pretrained import weights


def backbones(options: Namespace) -> None:
    """List all backbones and whether their weights are available, or print the spec of one."""
    if options.backbone is None:
        specs = list(backbone_registry.BACKBONES.values())
    else:
        backbone_registry.check_backbone_name(options.backbone)
        specs = [_describe_backbone(options.backbone)]
    if options.json:
        for spec in specs:
            print_json(spec.to_json())
        return
    lines = []
    for spec in specs:
        location = weights.locate_weights(spec)
        availability = "here" if location.ready else "download" if spec.weights else "none"
        size = messages.get_text(f"cli.weights.{availability}", megabytes=f"{location.megabytes:.0f}")
        lines.append(
            [spec.name, spec.title, f"{spec.parameters / 1e6:.1f} M", spec.side, size, spec.licence, spec.source]
        )
    print_table(["backbone", "title", "parameters", "side", "weights", "licence", "source"], lines)
    if options.backbone is None:
        print(messages.get_text("cli.any_timm"))


def layers(options: Namespace) -> None:
    """List the layers of a backbone with a head, and what a mode trains of them.

    Raises:
        ConfigError: `--classes` or `--depth` is out of bounds.
    """
    spec = backbone_registry.get_backbone_spec(options.backbone)
    for name, lowest in (("classes", 1), ("depth", 1)):
        value = getattr(options, name)
        if value is not None and value < lowest:
            raise ConfigError("config.bounds", name=f"--{name}", value=value, low=lowest, high=1_000_000)
    from ftlab.models.summary import summarize_layers

    summaries, (marks, candidate_paths) = (
        summarize_layers(spec, options.classes, options.mode, options.depth),
        _mark_cam_layers(spec),
    )
    if options.json:
        for layer_summary in summaries:
            print_json({**asdict(layer_summary), "map": marks.get(layer_summary.name)})
        return
    lines = [
        [
            summary.name,
            summary.kind,
            " × ".join(map(str, summary.shape)) or "–",
            f"{summary.parameters:,}",
            f"{summary.trainable:,}",
            messages.get_text(f"cli.map.{marks[summary.name]}") if summary.name in marks else "",
        ]
        for summary in summaries
    ]
    print_table(["layer", "kind", "output", "parameters", "trainable", messages.get_text("cli.map.column")], lines)
    print(
        messages.get_text(
            "cli.layers_total",
            total=sum(summary.parameters for summary in summaries),
            trainable=sum(summary.trainable for summary in summaries),
            side=spec.side,
            mode=options.mode,
        )
    )
    key = "cli.layers_map" if candidate_paths else "cli.layers_no_map"
    print(messages.get_text(key, names=", ".join(candidate_paths), usual=spec.cam))


def _mark_cam_layers(spec: backbone_registry.BackboneSpec) -> tuple[dict[str, str], list[str]]:
    """Return the layers that `explain --layer` accepts.

    Returns:
        Marks by path: `usual` for the default layer, `worth` for further informative layers, `possible` for the others;
        and the paths of the informative layers, from the input up. Both empty if Grad-CAM does not support the
        backbone.
    """
    if not spec.cam:
        return {}, []
    from torch import nn

    from ftlab.models import cam_layers, network

    # The number of classes does not matter; a head needs one.
    net = network.build_network(spec, 2, pretrained=False)
    candidate_paths = [layer.path for layer in cam_layers.find_candidate_layers(net, spec)]
    marks = {layer.path: "possible" for layer in cam_layers.find_spatial_layers(net, spec)}
    marks |= dict.fromkeys(candidate_paths, "worth") | {spec.cam: "usual"}
    for path in candidate_paths:
        submodule = net.backbone.get_submodule(path)
        while isinstance(submodule, nn.Sequential) and len(submodule):  # its output is that of its last child
            name, submodule = list(submodule.named_children())[-1]
            path = f"{path}.{name}"
            marks[path] = marks[path.rpartition(".")[0]]
    return marks, candidate_paths


def _describe_backbone(name: str) -> backbone_registry.BackboneSpec:
    """Return the spec of a backbone; for a timm model bypass the cache: other processes start this one to fill it."""
    if name in backbone_registry.BACKBONES:
        return backbone_registry.BACKBONES[name]
    from ftlab.models.timm_spec import describe_timm_model

    return describe_timm_model(name)
