"""The command that shows where in pictures the evidence for a class lies."""

from __future__ import annotations

import sys
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftlab.cli.commands import explain_pair
from ftlab.cli.commands.predict import model_of, pictures, run_of
from ftlab.cli.common import config_flags
from ftlab.cli.terminal.output import as_json, bar
from ftlab.core import messages
from ftlab.core.errors import ConfigError, FtlabError
from ftlab.inference.cam_options import How

if TYPE_CHECKING:
    from ftlab.inference.before_finetuning import Before
    from ftlab.inference.faithfulness import Faithfulness
    from ftlab.inference.heatmap import Pixels
    from ftlab.inference.predictor import Explanation, Predictor, Score


def explain(options: Namespace) -> int:
    """A figure of each file: the picture, the heat map of a class, the overlay, the top classes; on demand what was
    looked at before fine-tuning, and whether the map means anything; or two models side by side."""
    from ftlab.reporting import plots

    config_flags.within("--opacity", options.opacity, 0, 1)
    model, files = model_of(options), pictures(options.files)
    second = explain_pair.model_against(options) if options.against else None
    for one in filter(None, (model, second)):
        if options.of is not None and options.of not in one.classes:
            raise ConfigError("config.class", name=options.of, names=", ".join(one.classes[:20]))
        one.layer(options.layer)  # a wrong one is said once, not at every picture
    out, mistakes = Path(options.out), 0
    alone = len(files) == 1 and bool(out.suffix) and not out.is_dir()
    if alone:
        plots.check(out)
    for number, file in enumerate(files):
        try:
            seen = explain_pair.look(options, model, second, file) if second else _look(options, model, file)
        except FtlabError as mistake:
            mistakes += 1
            print(f"ftlab: {mistake}", file=sys.stderr)
            continue
        name = model.classes[seen.found.index]
        target = out if alone else _figure(out, files, number, name)
        plots.save(seen.figure(options.opacity), target)
        if options.json:
            as_json({"file": str(file), "class": name, "out": str(target), **seen.to_json()})
        else:
            key = "cli.explained" if seen.found.evidence else "cli.no_evidence" if seen.found.mapped else "cli.no_map"
            print(messages.text(key, file=file, name=name, out=target), *seen.said(), sep="\n  ")
    return 2 if mistakes == len(files) else 0


@dataclass(frozen=True)
class _Seen:
    """All that was asked about one picture."""

    scores: list[Score]
    found: Explanation
    before: Before | None
    earlier: Explanation | None
    earlier_probability: float
    score: Faithfulness | None
    scored: bool

    def figure(self, opacity: float) -> Any:
        from ftlab.reporting import plots

        bars = [(score.name, score.probability) for score in self.scores]
        earlier = _overlay(self.earlier, opacity) if self.earlier else None
        picture, over = self.found.picture, _overlay(self.found, opacity)
        return plots.explanation_figure(picture, over, self.found.heat, bars, earlier, "\n".join(self.said()))

    def said(self) -> list[str]:
        """Sentences about what was asked beyond the map."""
        from ftlab.inference import before_finetuning, faithfulness

        made = [] if self.before is None else [before_finetuning.sentence(self.before, self.earlier_probability)]
        return [*made, *([" ".join(faithfulness.sentences(self.score))] if self.scored else [])]

    def to_json(self) -> dict[str, Any]:
        found = self.found
        made: dict[str, Any] = {"evidence": found.evidence, "method": found.how.method, "layer": found.how.layer}
        if self.before is not None:
            made["before"] = {"kind": self.before.kind}
            if self.earlier is not None:
                made["before"] |= {"class": self.before.name, "probability": self.earlier_probability}
        if self.scored:
            made["score"] = self.score.to_json() if self.score else None
        return made


def _look(options: Namespace, model: Predictor, file: Path) -> _Seen:
    from ftlab.inference import before_finetuning

    how = How(options.method, options.layer)
    index = None if options.of is None else model.classes.index(options.of)
    scores, found = model.look(file, index, how=how)
    then = before_finetuning.find(run_of(options), model, found.index) if options.before else None
    earlier, probability = then.look(file, how) if then else (None, 0.0)
    score = None
    if options.score:
        with bar("cli.scoring") as progress:
            score = model.weigh(file, found.index, how, progress)
    return _Seen(scores, found, then, earlier, probability, score, options.score)


def _overlay(found: Explanation, opacity: float) -> Pixels:
    from ftlab.inference import heatmap

    return heatmap.overlay(found.picture, found.heat, found.box, opacity)


def _figure(out: Path, files: list[Path], number: int, name: str) -> Path:
    """Where the figure of one of several pictures goes: a file of its own in the folder `out`."""
    from ftlab.reporting.plots import FORMATS

    folder = out.with_suffix("") if out.suffix.lower() in FORMATS and not out.is_dir() else out
    same = sum(other.stem == files[number].stem for other in files[:number])
    stem = f"{files[number].stem}-{same + 1}" if same else files[number].stem
    return folder / f"{stem}-{name}.png".replace("/", "_")
