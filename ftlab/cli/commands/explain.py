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

from ftlab.cli.common import explain_gallery, explain_image, explain_pair
from ftlab.cli.common.explain_image import ImageExplanation
from ftlab.cli.common.image_files import find_image_files
from ftlab.cli.common.named_models import find_model_run, load_named_model
from ftlab.cli.parsing import config_flags
from ftlab.cli.terminal.output import print_json
from ftlab.core import messages
from ftlab.core.errors import ConfigError, FtlabError

if TYPE_CHECKING:
    from ftlab.cli.common.explain_pair import PairExplanation
    from ftlab.inference.predictor import ClassExplanation, Predictor
    from ftlab.reporting.html.gallery import GalleryImage


def explain(options: Namespace) -> int:
    """Write the heat map of a class over each image: a figure of one image, overlays and a page of several.

    On request, add the map before fine-tuning and the map's faithfulness, or compare two models.

    Returns:
        Exit status: 2 if every image failed, else 0.
    """
    config_flags.check_bounds("--opacity", options.opacity, 0, 1)
    run = find_model_run(options)
    files = find_image_files(options.files)  # before torch and the model are loaded, which takes seconds
    output = _OutputFiles.from_options(options, len(files))
    from ftlab.inference.network_answers import MIN_GRAPH_IMAGES

    model = load_named_model(run)
    second_model = explain_pair.load_second_model(options) if options.against else None
    # A test of faithfulness has all cores, and a bar of its own; a pair and a baseline load a second model first.
    is_parallel = len(files) >= MIN_GRAPH_IMAGES and not (options.score or options.before or options.against)
    for checked_model in filter(None, (model, second_model)):
        _prepare_model(options, checked_model, is_many=len(files) >= MIN_GRAPH_IMAGES, is_parallel=is_parallel)

    def explain_file(file_and_stem: tuple[Path, str]) -> _FileAnswer:
        file, stem = file_and_stem
        try:
            result = (
                explain_pair.explain_with_both(options, model, second_model, file)
                if second_model
                else explain_image.explain_image(options, run, model, file)
            )
        except FtlabError as error:  # one bad image must not end the loop
            return _FileAnswer(file, error=error)
        class_name = model.class_names[result.explanation.class_index]
        written_path = output.write_result(result, stem, class_name)
        gallery_image = None
        if output.has_gallery and isinstance(result, ImageExplanation):
            gallery_image = explain_gallery.describe_image(model, file, written_path, result)
        return _FileAnswer(
            file,
            class_name,
            written_path,
            result.to_json(),
            (_choose_message_key(result.explanation), *result.format_notes()),
            gallery_image,
        )

    error_count = 0
    gallery_images: list[GalleryImage] = []
    try:
        with closing(_map_files(explain_file, _number_stems(files), is_parallel=is_parallel)) as answers:
            for answer in answers:
                error_count += answer.error is not None
                answer.print(as_json=options.json)
                if answer.gallery_image:
                    gallery_images.append(answer.gallery_image)
    finally:  # whoever interrupts the command has a page of what is there
        if gallery_images:
            page_path = explain_gallery.write_page(gallery_images, model, run)
            if not options.json:
                print(messages.get_text("cli.gallery_written", out=page_path))
    return 2 if error_count == len(files) else 0


@dataclass(frozen=True)
class _OutputFiles:
    """Names and kind of the files that the command writes.

    Attributes:
        out_path: of `--out`, a file or a folder.
        is_single_file: whether it is the file of the only image.
        is_overlay: whether overlays are written, and no figures.
        has_gallery: whether the overlays get a page.
        opacity: of the heat map on the image, in [0, 1].
    """

    out_path: Path
    is_single_file: bool
    is_overlay: bool
    has_gallery: bool
    opacity: float

    @classmethod
    def from_options(cls, options: Namespace, file_count: int) -> _OutputFiles:
        """Choose what is written for so many images.

        Args:
            options: of the command.
            file_count: images.

        Returns:
            Overlays for several images, a figure for one, unless the options say otherwise.

        Raises:
            ConfigError: options that exclude each other, or a file that is no figure.
        """
        from ftlab.reporting import figure_files

        needs_figures = options.figures or options.before or bool(options.against)
        if options.overlays and needs_figures:
            raise ConfigError("config.overlays")
        is_several, out_path = file_count > 1, Path(options.out)
        is_overlay = options.overlays or (is_several and not needs_figures)
        # One image and a name with a suffix: that file. Otherwise `--out` is a folder.
        is_single_file = not is_several and bool(out_path.suffix) and not out_path.is_dir()
        if is_single_file:
            figure_files.check_figure_path(out_path, is_image=is_overlay)
        elif out_path.suffix.lower() in figure_files.FIGURE_SUFFIXES and not out_path.is_dir():
            out_path = out_path.with_suffix("")
        return cls(out_path, is_single_file, is_overlay, is_overlay and is_several, options.opacity)

    def write_result(self, result: ImageExplanation | PairExplanation, stem: str, class_name: str) -> Path:
        """Write the overlay or the figure of an image.

        Args:
            result: of the image.
            stem: from `_number_stems`.
            class_name: class that is explained.

        Returns:
            Path of the file.
        """
        from ftlab.inference import heatmap
        from ftlab.reporting import figure_files

        # Classes may contain a slash.
        file_name = f"{stem}-{class_name}.{'jpg' if self.is_overlay else 'png'}".replace("/", "_")
        path = self.out_path if self.is_single_file else self.out_path / file_name
        if not self.is_overlay:
            figure_files.save_figure(result.draw_figure(self.opacity), path)
            return path
        explanation = result.explanation
        overlay = heatmap.draw_overlay(explanation.image, explanation.scaled_map, explanation.visible_box, self.opacity)
        figure_files.save_image(overlay, path)
        return path


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
        written_path: file that was written.
        fields: further fields for `--json`.
        sentences: key of the message that reports the file, and sentences after it.
        gallery_image: for the page of several overlays.
        error: why the image could not be explained; then there is nothing else.
    """

    file: Path
    class_name: str = ""
    written_path: Path = Path()
    fields: Mapping[str, Any] = field(default_factory=dict)
    sentences: tuple[str, ...] = ()
    gallery_image: GalleryImage | None = None
    error: FtlabError | None = None

    def print(self, *, as_json: bool) -> None:
        """Print the answer as JSON or for people, and an error in one line on standard error."""
        if self.error is not None:
            print(f"ftlab: {self.error}", file=sys.stderr)
        elif as_json:
            values = {"file": str(self.file), "class": self.class_name, "out": str(self.written_path)}
            print_json({**values, **self.fields})
        else:
            message_key, *notes = self.sentences
            line = messages.get_text(message_key, file=self.file, name=self.class_name, out=self.written_path)
            print(line, *notes, sep="\n  ")


def _map_files(
    explain_file: Callable[[tuple[Path, str]], _FileAnswer], files: Iterator[tuple[Path, str]], *, is_parallel: bool
) -> Generator[_FileAnswer, None, None]:
    """Explain files in order, with a thread for each core if there are many.

    Args:
        explain_file: explains a file and writes its figure or overlay.
        files: with the stems of the files to write.
        is_parallel: whether to use threads.

    Yields:
        The answers.
    """
    if not is_parallel:
        yield from map(explain_file, files)
        return
    import cv2

    from ftlab.core.machine import count_cpu_cores, keep_freed_memory
    from ftlab.data.loading import thread_pool

    keep_freed_memory()  # each image needs the memory of the one before
    cv2.setNumThreads(1)  # there is a thread for each core already
    # One thread more than cores: some wait while a worker process decodes.
    yield from thread_pool.map_in_order(explain_file, files, count_cpu_cores() + 1, "explain")


def _choose_message_key(explanation: ClassExplanation) -> str:
    """Return the key of the message that reports an explained image."""
    if explanation.has_evidence:
        return "cli.explained"
    return "cli.no_evidence" if explanation.has_map else "cli.no_map"


def _number_stems(files: list[Path]) -> Iterator[tuple[Path, str]]:
    """Yield each file with the stem of the file to write: images of several folders may have the same name."""
    counts = Counter[str]()
    for file in files:
        counts[file.stem] += 1
        yield file, f"{file.stem}-{counts[file.stem]}" if counts[file.stem] > 1 else file.stem
