"""One picture through two models, for the command that shows where the evidence lies."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftlab.cli.commands.predict import find_named_run
from ftlab.core.errors import ConfigError
from ftlab.inference.cam_options import CamOptions

if TYPE_CHECKING:
    from ftlab.inference.compare_models import ModelAnswer
    from ftlab.inference.predictor import Explanation, Predictor

TOP_CLASS_COUNT = 5
"""Classes whose bars are drawn."""


@dataclass(frozen=True)
class PairExplanation:
    """What both say of one picture."""

    first: ModelAnswer
    second: ModelAnswer

    @property
    def explanation(self) -> Explanation:
        """The first one's map."""
        return self.first.explanation

    def draw_figure(self, opacity: float) -> Any:
        """Picture, and of each model its overlay and its bars."""
        from ftlab.inference import heatmap
        from ftlab.reporting import plots

        sides = []
        for answer in (self.first, self.second):
            title, explanation = (
                f"{answer.model.title}\n{answer.format_class_name(answer.explained_class)}",
                answer.explanation,
            )
            overlay = heatmap.blend_overlay(explanation.image, explanation.heatmap, explanation.visible_box, opacity)
            sides.append(
                (
                    title,
                    overlay,
                    [
                        (answer.format_class_name(score.name), score.probability)
                        for score in answer.scores[:TOP_CLASS_COUNT]
                    ],
                )
            )
        return plots.plot_model_comparison(self.explanation.image, sides, "\n".join(self.format_notes()))

    def format_notes(self) -> list[str]:
        """Whether they agree."""
        from ftlab.inference import compare_models

        return [compare_models.describe_agreement(self.first, self.second)]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: of each its most probable classes and what its map shows."""
        return {
            "agree": self.first.accepted_class == self.second.accepted_class,
            "models": [
                {
                    "model": answer.model.title,
                    "class": answer.explained_class,
                    "evidence": answer.explanation.has_evidence,
                    "layer": answer.explanation.cam_options.layer_path,
                    "none_of_these": answer.accepted_class is None,
                    "top": [
                        {"class": score.name, "probability": score.probability}
                        for score in answer.scores[:TOP_CLASS_COUNT]
                    ],
                }
                for answer in (self.first, self.second)
            ],
        }


def load_second_model(options: Namespace) -> Predictor:
    """The second model.

    Raises:
        ConfigError: what shows one model alone is asked for, too.
    """
    from ftlab.inference.predictor import load_predictor

    if options.before or options.score:
        raise ConfigError("config.against")
    return load_predictor(find_named_run(options, options.against))


def explain_with_both(
    options: Namespace, first_model: Predictor, second_model: Predictor, file: Path
) -> PairExplanation:
    """Ask both about a file; the class that was asked for, or each its most probable one."""
    from ftlab.inference import compare_models

    cam_options = CamOptions(options.method, options.layer)
    return PairExplanation(
        *(
            compare_models.explain_image(file, model, options.of or "", cam_options)
            for model in (first_model, second_model)
        )
    )
