"""One picture through two models, for the command that shows where the evidence lies."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftlab.cli.commands.predict import run_named
from ftlab.core.errors import ConfigError
from ftlab.inference.cam_options import How

if TYPE_CHECKING:
    from ftlab.inference.compare_models import Seen
    from ftlab.inference.predictor import Explanation, Predictor

TOP = 5
"""Classes whose bars are drawn."""


@dataclass(frozen=True)
class Both:
    """What both say of one picture."""

    first: Seen
    second: Seen

    @property
    def found(self) -> Explanation:
        """The first one's map."""
        return self.first.found

    def figure(self, opacity: float) -> Any:
        """Picture, and of each model its overlay and its bars."""
        from ftlab.inference import heatmap
        from ftlab.reporting import plots

        sides = []
        for one in (self.first, self.second):
            title, found = f"{one.model.title}\n{one.say(one.name)}", one.found
            over = heatmap.overlay(found.picture, found.heat, found.box, opacity)
            sides.append((title, over, [(one.say(score.name), score.probability) for score in one.scores[:TOP]]))
        return plots.pair_figure(self.found.picture, sides, "\n".join(self.said()))

    def said(self) -> list[str]:
        """Whether they agree."""
        from ftlab.inference import compare_models

        return [compare_models.sentence(self.first, self.second)]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: of each its most probable classes and what its map shows."""
        return {
            "agree": self.first.answer == self.second.answer,
            "models": [
                {
                    "model": one.model.title,
                    "class": one.name,
                    "evidence": one.found.evidence,
                    "layer": one.found.how.layer,
                    "none_of_these": one.answer is None,
                    "top": [{"class": score.name, "probability": score.probability} for score in one.scores[:TOP]],
                }
                for one in (self.first, self.second)
            ],
        }


def model_against(options: Namespace) -> Predictor:
    """The second model.

    Raises:
        ConfigError: what shows one model alone is asked for, too.
    """
    from ftlab.inference.predictor import load

    if options.before or options.score:
        raise ConfigError("config.against")
    return load(run_named(options, options.against))


def look(options: Namespace, first: Predictor, second: Predictor, file: Path) -> Both:
    """Ask both about a file; the class that was asked for, or each its most probable one."""
    from ftlab.inference import compare_models

    how = How(options.method, options.layer)
    return Both(*(compare_models.look(file, model, options.of or "", how) for model in (first, second)))
