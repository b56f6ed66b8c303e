"""The formats of exports: what each needs and promises. No torch: the page and `--help` list them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from ftlab.core.errors import ExportError
from ftlab.export import web_runtime

if TYPE_CHECKING:
    from ftlab.export.exported_answer import ExportedModel
    from ftlab.export.model_source import ModelSource
    from ftlab.export.run_card import RunFacts
    from ftlab.runs.history import History


INT8_BOUND = 0.2
"""Largest allowed difference of a probability from the trained model's, with int8."""
INT8_MIN_AGREEMENT = 0.95
"""Share of images that must get the trained model's class, with int8."""


@dataclass(frozen=True)
class ExportOptions:
    """Options of an export.

    Attributes:
        half_weights: store the weights as float16, where the format can.
        int8: store weights and activations as int8, where the format can; not with `half_weights`.
        example_count: validation images that become part of the files, where the format can; they are seen by whoever
            sees the files.
    """

    half_weights: bool = False
    int8: bool = False
    example_count: int = 0

    @property
    def numbers(self) -> str:
        """How numbers are stored: `float32`, `float16` or `int8`."""
        return "int8" if self.int8 else "float16" if self.half_weights else "float32"


class FormatModule(Protocol):
    """Functions of the module of a format."""

    def write_files(self, source: ModelSource, folder: Path, options: ExportOptions) -> None:
        """Write the files of a model into an empty folder.

        Args:
            source: the model.
            folder: an existing, empty folder.
            options: what was chosen.
        """

    def complete_card(self, card: str, source: ModelSource, folder: Path, facts: RunFacts, history: History) -> str:
        """Return the model card of a repository; only formats with `is_repository` have this function.

        Args:
            card: as of any format.
            source: the model.
            folder: for the figures.
            facts: of the run.
            history: of the run.

        Returns:
            Markdown.
        """

    def open_model(self, folder: Path) -> ExportedModel | None:
        """Open what was written, as another program does: with the packages of the format alone.

        Formats without a model (`ExportFormat.has_model`) have no such function.

        Args:
            folder: with the files.

        Returns:
            The model as a function of an image's pixels. None if nothing on this system runs it
            (`ExportFormat.runs_here`): then its structure and metadata were read back and are as they should be.
        """


@dataclass(frozen=True)
class ExportFormat:
    """A format.

    Attributes:
        name: on the command line.
        module: with the functions of `FormatModule`.
        bound: largest allowed difference of a probability from the trained model's.
        packages: modules that must be installed, and are no part of ftlab's own requirements.
        extra: of ftlab that installs them, as `ftlab[extra]`.
        runs_here: whether the files can be run on this machine's system at all; else only structure is checked.
        has_half_weights: whether the weights can be stored as float16.
        half_bound: the bound of float16 weights; 0: the same.
        has_int8: whether weights and activations can be stored as int8; its bounds are the same for all formats.
        is_repository: whether the files are a repository of the Hugging Face Hub, whose card has metadata and figures.
        space_sdk: `gradio` or `static` if the files are a Space of the Hugging Face Hub, else empty.
        has_examples: whether images can become part of the files.
        has_model: whether the files answer images; without a model (a script) there is nothing to compare, and the
            format writes its own README.
        needs_web_runtime: whether the files contain onnxruntime-web, which a checkout has to fetch.
    """

    name: str
    module: str
    bound: float
    packages: tuple[str, ...] = ()
    extra: str = ""
    runs_here: bool = True
    has_half_weights: bool = False
    is_repository: bool = False
    half_bound: float = 0.0
    has_int8: bool = False
    space_sdk: str = ""
    has_examples: bool = False
    has_model: bool = True
    needs_web_runtime: bool = False

    def get_bound(self, options: ExportOptions) -> float:
        """Return the largest allowed difference of a probability from the trained model's.

        Args:
            options: of the export.
        """
        if options.int8:
            return INT8_BOUND
        return self.half_bound if options.half_weights and self.half_bound else self.bound

    def get_min_agreement(self, options: ExportOptions) -> float:
        """Return the share of images that must get the class which the trained model gives them, in [0, 1].

        Args:
            options: of the export; only of int8 is more asked than what follows from the bound.
        """
        return INT8_MIN_AGREEMENT if options.int8 else 0.0

    def check_options(self, options: ExportOptions, *, check: bool) -> None:
        """Check that the format can store what is asked for.

        Args:
            options: of the export.
            check: whether it is compared with the trained model.

        Raises:
            ExportError: it cannot, or int8 is not to be compared.
        """
        if options.half_weights and options.int8:
            raise ExportError("export.half_int8")
        if options.half_weights and not self.has_half_weights:
            raise ExportError("export.no_half", format=self.name)
        if options.int8 and not self.has_int8:
            names = ", ".join(name for name, export_format in FORMATS.items() if export_format.has_int8)
            raise ExportError("export.no_int8", format=self.name, names=names)
        if options.int8 and not check:
            raise ExportError("export.int8_unchecked")
        if options.example_count < 0:
            raise ExportError("export.negative_examples", count=options.example_count)
        if options.example_count and not self.has_examples:
            raise ExportError("export.no_examples", format=self.name)

    def find_missing_package(self) -> str:
        """Return a package that is not installed; empty if all are."""
        return next((name for name in self.packages if find_spec(name) is None), "")

    def get_install_command(self) -> str:
        """Return the command that installs the packages: by the installed ftlab, or in the folder of its sources."""
        try:
            distribution("ftlab")
        except PackageNotFoundError:
            # No index has ftlab: its name alone is known to pip only where it is installed.
            return f"pip install '.[{self.extra}]'  # in ftlab's folder"
        return f"pip install 'ftlab[{self.extra}]'"

    def load(self) -> FormatModule:
        """Import the format's module; files of onnxruntime-web that it needs and are not there are an error too.

        Returns:
            The module.

        Raises:
            ExportError: a package is not installed.
        """
        missing_package = self.find_missing_package()
        if missing_package:
            raise ExportError(
                "export.package", format=self.name, package=missing_package, command=self.get_install_command()
            )
        if self.needs_web_runtime:
            web_runtime.find_web_runtime()
        return cast(FormatModule, import_module(self.module))


FORMATS = {
    export_format.name: export_format
    for export_format in (
        ExportFormat("onnx", "ftlab.export.onnx_format.onnx_files", bound=5e-3, has_half_weights=True, has_int8=True),
        ExportFormat(
            "web",
            "ftlab.export.web_page.page_files",
            bound=5e-3,
            has_half_weights=True,
            space_sdk="static",
            needs_web_runtime=True,
        ),
        ExportFormat(
            "safetensors",
            "ftlab.export.torch_formats.safetensors_files",
            bound=1e-4,
            has_half_weights=True,
            half_bound=5e-3,
        ),
        ExportFormat("pt2", "ftlab.export.torch_formats.program_files", bound=1e-4),
        ExportFormat(
            "openvino",
            "ftlab.export.openvino_format.openvino_files",
            bound=5e-3,
            packages=("openvino",),
            extra="openvino",
            has_half_weights=True,
            half_bound=3e-2,
        ),
        ExportFormat(
            "ncnn",
            "ftlab.export.ncnn_format.ncnn_files",
            bound=3e-2,
            packages=("pnnx", "ncnn"),
            extra="ncnn",
            has_half_weights=True,
        ),
        ExportFormat(
            "executorch",
            "ftlab.export.executorch_format.executorch_files",
            bound=1e-4,
            packages=("executorch",),
            extra="executorch",
        ),
        ExportFormat(
            "coreml",
            "ftlab.export.coreml_format.coreml_files",
            bound=0.0,
            packages=("coremltools",),
            extra="coreml",
            runs_here=False,
        ),
        ExportFormat("hub", "ftlab.export.hub.repository", bound=5e-3, is_repository=True),
        ExportFormat(
            "space",
            "ftlab.export.space_format.space_files",
            bound=5e-3,
            has_half_weights=True,
            space_sdk="gradio",
            has_examples=True,
        ),
        ExportFormat("script", "ftlab.export.plain_script.script_files", bound=0.0, has_model=False),
        ExportFormat("notebook", "ftlab.export.plain_script.notebook_files", bound=0.0, has_model=False),
    )
}
"""All formats by name, in the order in which they are listed."""


def get_format(name: str) -> ExportFormat:
    """Return the format of a name.

    Args:
        name: of the format.

    Returns:
        The format.

    Raises:
        ExportError: there is none of this name.
    """
    if name not in FORMATS:
        raise ExportError("export.format", name=name, names=", ".join(FORMATS))
    return FORMATS[name]
