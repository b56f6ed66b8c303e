"""The command `explain`: show where in an image the evidence for a class is."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
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
    from ftlab.reporting import figure_files

    config_flags.check_bounds("--opacity", options.opacity, 0, 1)
    if options.overlays and (options.before or options.against):
        raise ConfigError("config.overlays")
    run = find_model_run(options)
    files = find_image_files(options.files)  # before the model is loaded, which takes seconds
    model = load_named_model(run)
    second_model = explain_pair.load_second_model(options) if options.against else None
    # A test of faithfulness has all cores, and a bar of its own; a pair and a baseline load a second model first.
    is_parallel = len(files) >= MIN_GRAPH_IMAGES and not (options.score or options.before or options.against)
    for checked_model in filter(None, (model, second_model)):
        _prepare_model(options, checked_model, is_many=len(files) >= MIN_GRAPH_IMAGES, is_parallel=is_parallel)
    out_path, error_count = Path(options.out), 0
    # One image and a name with a suffix: that file. Otherwise `--out` is a folder.
    is_single_figure = len(files) == 1 and bool(out_path.suffix) and not out_path.is_dir()
    if is_single_figure:
        figure_files.check_figure_path(out_path, is_image=options.overlays)

    def explain_file(file_and_stem: tuple[Path, str]) -> _FileAnswer:
        file, stem = file_and_stem
        try:
            result = (
                explain_pair.explain_with_both(options, model, second_model, file)
                if second_model
                else _explain_image(options, run, model, file)
            )
        except FtlabError as error:  # one bad image must not end the loop
            return _FileAnswer(file, error=error)
        class_name = model.class_names[result.explanation.class_index]
        figure_path = out_path if is_single_figure else _get_figure_path(options, stem, class_name)
        if options.overlays:
            figure_files.save_image(_render_overlay(result.explanation, options.opacity), figure_path)
        else:
            figure_files.save_figure(result.draw_figure(options.opacity), figure_path)
        return _FileAnswer(
            file,
            class_name,
            figure_path,
            result.to_json(),
            (_choose_message_key(result.explanation), *result.format_notes()),
        )

    with closing(_map_files(explain_file, _number_stems(files), is_parallel=is_parallel)) as answers:
        for answer in answers:
            error_count += answer.error is not None
            answer.print(as_json=options.json)
    return 2 if error_count == len(files) else 0


def _prepare_model(options: Namespace, model: Predictor, *, is_many: bool, is_parallel: bool) -> None:
    """Check that a model has the class and the layer asked for, and make it fast for many images.

    Args:
        options: of the command.
        model: to be prepared.
        is_many: whether a graph pays off.
        is_parallel: whether there is a thread for each core.

    Raises:
        ConfigError: no such class or layer.
    """
    if options.of is not None and options.of not in model.class_names:
        raise ConfigError("config.class", name=options.of, names=", ".join(model.class_names[:20]))
    cam_layer = model.get_cam_layer(options.layer)  # raise once for a wrong layer, not for every image
    if is_parallel:
        model.answers.answer_on_callers()
    if is_many and cam_layer.path == model.spec.cam:  # the graph has no other maps
        model.prepare_graph()  # in the background: torch answers until then


@dataclass(frozen=True)
class _FileAnswer:
    """Text that is printed about a file: nothing else, as many of them wait for their turn.

    Attributes:
        file: of the image.
        class_name: explained class.
        figure_path: file that was written.
        fields: further fields for `--json`.
        sentences: key of the message that reports the file, and sentences after it.
        error: why the image could not be explained; then there is nothing else.
    """

    file: Path
    class_name: str = ""
    figure_path: Path = Path()
    fields: Mapping[str, Any] = field(default_factory=dict)
    sentences: tuple[str, ...] = ()
    error: FtlabError | None = None

    def print(self, *, as_json: bool) -> None:
        """Print the answer as JSON or for people, and an error in one line on standard error."""
        if self.error is not None:
            print(f"ftlab: {self.error}", file=sys.stderr)
        elif as_json:
            values = {"file": str(self.file), "class": self.class_name, "out": str(self.figure_path)}
            print_json({**values, **self.fields})
        else:
            message_key, *notes = self.sentences
            line = messages.get_text(message_key, file=self.file, name=self.class_name, out=self.figure_path)
            print(line, *notes, sep="\n  ")


def _map_files(
    explain_file: Callable[[tuple[Path, str]], _FileAnswer], files: Iterator[tuple[Path, str]], *, is_parallel: bool
) -> Generator[_FileAnswer, None, None]:
    """Explain files in order, with a thread for each core if there are many.

    Args:
        explain_file: explains a file and writes its figure.
        files: with the stems of their figures.
        is_parallel: whether to use threads.

    Yields:
        The answers.
    """
    if not is_parallel:
        yield from map(explain_file, files)
        return
    import cv2

    from ftlab.core.machine import count_cpu_cores
    from ftlab.data.loading import thread_pool

    cv2.setNumThreads(1)  # there is a thread for each core already
    yield from thread_pool.map_in_order(explain_file, files, count_cpu_cores(), "explain")


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


def _number_stems(files: list[Path]) -> Iterator[tuple[Path, str]]:
    """Yield each file with the stem of its figure: images of several folders may have the same name."""
    counts = Counter[str]()
    for file in files:
        counts[file.stem] += 1
        yield file, f"{file.stem}-{counts[file.stem]}" if counts[file.stem] > 1 else file.stem


def _get_figure_path(options: Namespace, stem: str, class_name: str) -> Path:
    """Return the file of the figure of one of several images, in the folder that `--out` names.

    Args:
        options: of the command.
        stem: from `_number_stems`.
        class_name: class that the figure explains.
    """
    from ftlab.reporting.figure_files import FIGURE_SUFFIXES

    out_path = Path(options.out)
    folder = (
        out_path.with_suffix("") if out_path.suffix.lower() in FIGURE_SUFFIXES and not out_path.is_dir() else out_path
    )
    # Classes may contain a slash.
    return folder / f"{stem}-{class_name}.{'jpg' if options.overlays else 'png'}".replace("/", "_")
