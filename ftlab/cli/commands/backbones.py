"""The commands about backbones: list them, and show the layers of one."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict

from ftlab.cli.terminal.output import as_json, table
from ftlab.config import backbones as known
from ftlab.core import messages
from ftlab.core.errors import ConfigError
from ftlab.models.pretrained import weights


def backbones(options: Namespace) -> None:
    """All backbones and whether their weights are here; or the row of one, looked up anew if it is timm's."""
    if options.backbone is None:
        rows = list(known.TABLE.values())
    else:
        known.check(options.backbone)
        rows = [_row(options.backbone)]
    if options.json:
        for row in rows:
            as_json(row.to_json())
        return
    lines = []
    for row in rows:
        found = weights.locate(row)
        where = "here" if found.ready else "download" if row.weights else "none"
        size = messages.text(f"cli.weights.{where}", megabytes=f"{found.megabytes:.0f}")
        lines.append([row.name, row.title, f"{row.parameters / 1e6:.1f} M", row.side, size, row.licence, row.source])
    table(["backbone", "title", "parameters", "side", "weights", "licence", "source"], lines)
    if options.backbone is None:
        print(messages.text("cli.any_timm"))


def layers(options: Namespace) -> None:
    """The layers of a backbone with a head for some classes, and what a mode trains of them."""
    row = known.get(options.backbone)
    for name, low in (("classes", 1), ("depth", 1)):
        value = getattr(options, name)
        if value is not None and value < low:
            raise ConfigError("config.bounds", name=f"--{name}", value=value, low=low, high=1_000_000)
    from ftlab.models.summary import table as compute

    found, (marks, worth) = compute(row, options.classes, options.mode, options.depth), _marks(row)
    if options.json:
        for layer in found:
            as_json({**asdict(layer), "map": marks.get(layer.name)})
        return
    lines = [
        [
            one.name,
            one.kind,
            " × ".join(map(str, one.shape)) or "–",
            f"{one.parameters:,}",
            f"{one.trainable:,}",
            messages.text(f"cli.map.{marks[one.name]}") if one.name in marks else "",
        ]
        for one in found
    ]
    table(["layer", "kind", "output", "parameters", "trainable", messages.text("cli.map.column")], lines)
    print(
        messages.text(
            "cli.layers_total",
            total=sum(one.parameters for one in found),
            trainable=sum(one.trainable for one in found),
            side=row.side,
            mode=options.mode,
        )
    )
    key = "cli.layers_map" if worth else "cli.layers_no_map"
    print(messages.text(key, names=", ".join(worth), usual=row.cam))


def _marks(row: known.Backbone) -> tuple[dict[str, str], list[str]]:
    """Of the layers that `explain --layer` takes, by path: the `usual` one, those `worth` a look, and the merely
    `possible` ones; and the names of those worth it, from the pixels up. None where the backbone gives no map."""
    if not row.cam:
        return {}, []
    from torch import nn

    from ftlab.models import cam_layers, network

    net = network.build(row, 2, pretrained=False)
    worth = [one.path for one in cam_layers.candidates(net, row)]
    marks = {one.path: "possible" for one in cam_layers.every(net, row)}
    marks |= dict.fromkeys(worth, "worth") | {row.cam: "usual"}
    for path in worth:
        part = net.backbone.get_submodule(path)
        while isinstance(part, nn.Sequential) and len(part):  # it gives what its last part gives
            name, part = list(part.named_children())[-1]
            path = f"{path}.{name}"
            marks[path] = marks[path.rpartition(".")[0]]
    return marks, worth


def _row(name: str) -> known.Backbone:
    """This is the process that others start to look one up."""
    if name in known.TABLE:
        return known.TABLE[name]
    from ftlab.models.timm_spec import describe

    return describe(name)
