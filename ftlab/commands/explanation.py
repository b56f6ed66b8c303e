"""The command that shows where in pictures the evidence for a class lies."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

from ftlab import words
from ftlab.commands import settings
from ftlab.commands.prediction import model_of, pictures
from ftlab.errors import ConfigError, FtlabError
from ftlab.printing import as_json


def explain(options: Namespace) -> int:
    """A figure of each file: the picture, the heat map of a class, the overlay, the top classes."""
    from ftlab import plots
    from ftlab.inference import cam

    settings.within("--opacity", options.opacity, 0, 1)
    model, files = model_of(options), pictures(options.files)
    index = None
    if options.of is not None:
        if options.of not in model.classes:
            raise ConfigError("config.class", name=options.of, names=", ".join(model.classes[:20]))
        index = model.classes.index(options.of)
    out, mistakes = Path(options.out), 0
    alone = len(files) == 1 and bool(out.suffix) and not out.is_dir()
    if alone:
        plots.check(out)
    for number, file in enumerate(files):
        try:
            scores, found = model.look(file, index)
        except FtlabError as mistake:
            mistakes += 1
            print(f"ftlab: {mistake}", file=sys.stderr)
            continue
        name = model.classes[found.index]
        target = out if alone else _figure(out, files, number, name)
        shown = cam.overlay(found.picture, found.heat, found.box, options.opacity)
        bars = [(score.name, score.probability) for score in scores]
        figure = plots.explanation_figure(found.picture, shown, found.heat, bars)
        plots.save(figure, target)
        if options.json:
            as_json({"file": str(file), "class": name, "evidence": found.evidence, "out": str(target)})
        else:
            key = "cli.explained" if found.evidence else "cli.no_evidence" if found.mapped else "cli.no_map"
            print(words.text(key, file=file, name=name, out=target))
    return 2 if mistakes == len(files) else 0


def _figure(out: Path, files: list[Path], number: int, name: str) -> Path:
    """Where the figure of one of several pictures goes: a file of its own in the folder `out`."""
    from ftlab.plots import FORMATS

    folder = out.with_suffix("") if out.suffix.lower() in FORMATS and not out.is_dir() else out
    same = sum(other.stem == files[number].stem for other in files[:number])
    stem = f"{files[number].stem}-{same + 1}" if same else files[number].stem
    return folder / f"{stem}-{name}.png".replace("/", "_")
