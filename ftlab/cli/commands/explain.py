"""The command `explain`: show where in an image the evidence for a class is."""

from __future__ import annotations

import sys
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftlab.cli.common import config_flags, explain_pair
from ftlab.cli.common.image_files import find_image_files
from ftlab.cli.common.named_models import find_model_run, load_named_model
from ftlab.cli.terminal.output import open_progress_bar, print_json
from ftlab.core import messages
from ftlab.core.errors import ConfigError, FtlabError
from ftlab.inference.cam_options import CamOptions

if TYPE_CHECKING:
    from ftlab.inference.before_finetuning import PretrainedBaseline
    from ftlab.inference.faithfulness import Faithfulness
    from ftlab.inference.heatmap import Uint8Image
    from ftlab.inference.predictor import ClassExplanation, ClassScore, Predictor
    from ftlab.runs.directory import Run


def explain(options: Namespace) -> int:
    """Plot each image with the heat map of a class, the overlay and the most probable classes.

    On request, add the map before fine-tuning and the map's faithfulness, or compare two models.

    Returns:
        Exit status: 2 if every image failed, else 0.

    Raises:
        ConfigError: no such class or layer, or a file that is no figure.
    """
    from ftlab.inference.network_answers import MIN_GRAPH_IMAGES
    from ftlab.reporting import plots

    config_flags.check_bounds("--opacity", options.opacity, 0, 1)
    run = find_model_run(options)
    files = find_image_files(options.files)  # before the model is loaded, which takes seconds
    model = load_named_model(run)
    second_model = explain_pair.load_second_model(options) if options.against else None
    for checked_model in filter(None, (model, second_model)):
        if options.of is not None and options.of not in checked_model.class_names:
            raise ConfigError("config.class", name=options.of, names=", ".join(checked_model.class_names[:20]))
        checked_model.get_cam_layer(options.layer)  # raise once for a wrong layer, not for every image
        if len(files) >= MIN_GRAPH_IMAGES:
            checked_model.prepare_graph()  # in the background: torch answers until then
    out_path, error_count = Path(options.out), 0
    # One image and a name with a suffix: that file. Otherwise `--out` is a folder.
    is_single_figure = len(files) == 1 and bool(out_path.suffix) and not out_path.is_dir()
    if is_single_figure:
        plots.check_figure_path(out_path)
    for index, file in enumerate(files):
        try:
            result = (
                explain_pair.explain_with_both(options, model, second_model, file)
                if second_model
                else _explain_image(options, run, model, file)
            )
        except FtlabError as error:  # one bad image must not end the loop
            error_count += 1
            print(f"ftlab: {error}", file=sys.stderr)
            continue
        class_name = model.class_names[result.explanation.class_index]
        figure_path = out_path if is_single_figure else _get_figure_path(out_path, files, index, class_name)
        plots.save_figure(result.draw_figure(options.opacity), figure_path)
        if options.json:
            print_json({"file": str(file), "class": class_name, "out": str(figure_path), **result.to_json()})
        else:
            line = messages.get_text(
                _choose_message_key(result.explanation), file=file, name=class_name, out=figure_path
            )
            print(line, *result.format_notes(), sep="\n  ")
    return 2 if error_count == len(files) else 0


def _choose_message_key(explanation: ClassExplanation) -> str:
    """Return the key of the message that reports an explained image."""
    if explanation.has_evidence:
        return "cli.explained"
    return "cli.no_evidence" if explanation.has_map else "cli.no_map"


@dataclass(frozen=True)
class _ImageExplanation:
    """Everything requested about one image.

    Attributes:
        scores: most probable classes.
        explanation: heat map of a class.
        baseline: the network before fine-tuning, with `--before`.
        baseline_explanation: its heat map, if it has one.
        baseline_probability: its probability of the class that it explains, in [0, 1].
        faithfulness: score of the map with `--score`; None if the map has no evidence to score.
        is_scored: whether `--score` is given.
    """

    scores: list[ClassScore]
    explanation: ClassExplanation
    baseline: PretrainedBaseline | None
    baseline_explanation: ClassExplanation | None
    baseline_probability: float
    faithfulness: Faithfulness | None
    is_scored: bool

    def draw_figure(self, opacity: float) -> Any:
        """Return a matplotlib figure; `opacity` in [0, 1] is that of the heat map on the image."""
        from ftlab.reporting import plots

        bars = [(score.name, score.probability) for score in self.scores]
        baseline_overlay = _render_overlay(self.baseline_explanation, opacity) if self.baseline_explanation else None
        image, overlay = self.explanation.image, _render_overlay(self.explanation, opacity)
        return plots.plot_explanation(
            image, overlay, self.explanation.heatmap, bars, baseline_overlay, "\n".join(self.format_notes())
        )

    def format_notes(self) -> list[str]:
        """Return sentences about what was requested in addition to the map."""
        from ftlab.inference import before_finetuning, faithfulness

        sentences = (
            []
            if self.baseline is None
            else [before_finetuning.describe_baseline(self.baseline, self.baseline_probability)]
        )
        return [
            *sentences,
            *([" ".join(faithfulness.describe_faithfulness(self.faithfulness))] if self.is_scored else []),
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the fields of this explanation for `--json`."""
        explanation = self.explanation
        values: dict[str, Any] = {
            "evidence": explanation.has_evidence,
            "method": explanation.cam_options.method,
            "layer": explanation.cam_options.layer_path,
        }
        if self.baseline is not None:
            values["before"] = {"kind": self.baseline.kind}
            if self.baseline_explanation is not None:
                values["before"] |= {"class": self.baseline.class_name, "probability": self.baseline_probability}
        if self.is_scored:
            values["score"] = self.faithfulness.to_json() if self.faithfulness else None
        return values


def _explain_image(options: Namespace, run: Run | None, model: Predictor, file: Path) -> _ImageExplanation:
    """Return the explanation of one image by one model.

    Args:
        options: of the command.
        run: of the model; None for the pretrained network.
        model: to explain.
        file: of the image.
    """
    from ftlab.inference import before_finetuning

    cam_options = CamOptions(options.method, options.layer)
    class_index = None if options.of is None else model.class_names.index(options.of)
    scores, explanation = model.predict_and_explain(file, class_index, cam_options=cam_options)
    baseline = before_finetuning.pretrained_baseline(run, model, explanation.class_index) if options.before else None
    baseline_explanation, baseline_probability = baseline.explain(file, cam_options) if baseline else (None, 0.0)
    faithfulness = None
    if options.score:
        with open_progress_bar("cli.scoring") as progress:
            faithfulness = model.score_faithfulness(file, explanation.class_index, cam_options, progress)
    return _ImageExplanation(
        scores, explanation, baseline, baseline_explanation, baseline_probability, faithfulness, options.score
    )


def _render_overlay(explanation: ClassExplanation, opacity: float) -> Uint8Image:
    """Return the heat map blended over its image, uint8 [H, W, 3] RGB."""
    from ftlab.inference import heatmap

    return heatmap.blend_overlay(explanation.image, explanation.heatmap, explanation.visible_box, opacity)


def _get_figure_path(out_path: Path, files: list[Path], index: int, class_name: str) -> Path:
    """Return the file of the figure of one of several images, in the folder `out_path`.

    Args:
        out_path: value of `--out`.
        files: all images.
        index: of the image.
        class_name: class that the figure explains.
    """
    from ftlab.reporting.plots import FIGURE_SUFFIXES

    folder = (
        out_path.with_suffix("") if out_path.suffix.lower() in FIGURE_SUFFIXES and not out_path.is_dir() else out_path
    )
    # Images of several folders may have the same name; classes may contain a slash.
    duplicate_count = sum(other_file.stem == files[index].stem for other_file in files[:index])
    stem = f"{files[index].stem}-{duplicate_count + 1}" if duplicate_count else files[index].stem
    return folder / f"{stem}-{class_name}.png".replace("/", "_")
