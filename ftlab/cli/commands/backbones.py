"""The commands about backbones: list them, and show the layers of one."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict

from ftlab.cli.terminal.output import print_json, print_table
from ftlab.config import backbones as known
from ftlab.core import messages
from ftlab.core.errors import ConfigError
from ftlab.models.pretrained import weights


def backbones(options: Namespace) -> None:
    """All backbones and whether their weights are here; or the row of one, looked up anew if it is timm's."""
    if options.backbone is None:
        specs = list(known.BACKBONES.values())
    else:
        known.check_backbone_name(options.backbone)
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
    """The layers of a backbone with a head for some classes, and what a mode trains of them."""
    spec = known.get_backbone_spec(options.backbone)
    for name, lowest in (("classes", 1), ("depth", 1)):
        value = getattr(options, name)
        if value is not None and value < lowest:
            raise ConfigError("config.bounds", name=f"--{name}", value=value, low=lowest, high=1_000_000)
    from ftlab.models.summary import summarize_layers as compute

    summaries, (marks, candidate_paths) = (
        compute(spec, options.classes, options.mode, options.depth),
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


def _mark_cam_layers(spec: known.BackboneSpec) -> tuple[dict[str, str], list[str]]:
    """Of the layers that `explain --layer` takes, by path: the `usual` one, those `candidate_paths` a look, and the merely
    `possible` ones; and the names of those worth it, from the pixels up. None where the backbone gives no map."""
    if not spec.cam:
        return {}, []
    from torch import nn

    from ftlab.models import cam_layers, network

    net = network.build_network(spec, 2, pretrained=False)
    candidate_paths = [layer.path for layer in cam_layers.find_candidate_layers(net, spec)]
    marks = {layer.path: "possible" for layer in cam_layers.find_spatial_layers(net, spec)}
    marks |= dict.fromkeys(candidate_paths, "worth") | {spec.cam: "usual"}
    for path in candidate_paths:
        submodule = net.backbone.get_submodule(path)
        while isinstance(submodule, nn.Sequential) and len(submodule):  # it gives what its last part gives
            name, submodule = list(submodule.named_children())[-1]
            path = f"{path}.{name}"
            marks[path] = marks[path.rpartition(".")[0]]
    return marks, candidate_paths


def _describe_backbone(name: str) -> known.BackboneSpec:
    """This is the process that others start to look one up."""
    if name in known.BACKBONES:
        return known.BACKBONES[name]
    from ftlab.models.timm_spec import describe_timm_model

    return describe_timm_model(name)
