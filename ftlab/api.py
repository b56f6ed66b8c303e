"""The Python API: train, load, predict, explain and scan, as the page and the command line do.

    import ftlab

    model = ftlab.train("pets", epochs=5)
    print(model.predict("cat.jpg"))
    model.explain("cat.jpg").save("evidence.png")

Everything here can be imported as `ftlab.<name>`. Importing `ftlab` loads neither this module nor torch; a function
loads what it needs when it is called.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftlab.core import user_dirs
from ftlab.core.errors import ConfigError, DataError, FtlabError, ImageError, RunError, WeightsError
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.runs.events import Event

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ftlab.config.train_config import TrainConfig
    from ftlab.data.dataset.catalog import Catalog
    from ftlab.inference.image_input import ImageInput
    from ftlab.inference.predictor import Predictor

__all__ = [
    "ConfigError",
    "DataError",
    "Explanation",
    "FtlabError",
    "ImageError",
    "Model",
    "Prediction",
    "RunError",
    "WeightsError",
    "load",
    "scan",
    "train",
]


@dataclass(frozen=True)
class Prediction:
    """A class that an image may belong to.

    Attributes:
        name: of the class.
        probability: in [0, 1]; the probabilities of all classes of a model add up to 1.
    """

    name: str
    probability: float


@dataclass(frozen=True, eq=False)  # arrays have no truth value to compare by
class Explanation:
    """Heat map of the evidence for a class in an image.

    Attributes:
        name: of the class.
        probability: of the class, in [0, 1].
        image: uint8 [H, W, 3] RGB, the image as it is shown: its longer side has at most 1024 pixels.
        heatmap: float32 [H, W] in [0, 1], aligned with `image`. Its maximum is 1; it is all zero if nothing in the
            image speaks for the class.
        overlay: uint8 [H, W, 3] RGB, the image with the heat map over it.
        method: of the map, such as `grad_cam`.
        layer: path of the layer that the map was computed at.
    """

    name: str
    probability: float
    image: npt.NDArray[np.uint8] = field(repr=False)
    heatmap: npt.NDArray[np.float32] = field(repr=False)
    overlay: npt.NDArray[np.uint8] = field(repr=False)
    method: str
    layer: str

    def save(self, path: Path | str) -> Path:
        """Write the overlay to a file in the format of its suffix.

        Args:
            path: of the file: `.png`, `.jpg`, `.webp` …

        Returns:
            The path.

        Raises:
            ConfigError: the file cannot be written, or its suffix names no format.
        """
        from PIL import Image

        file = user_dirs.expand_home(path)
        try:
            Image.fromarray(self.overlay).save(file)
        except (ValueError, OSError) as cause:
            raise ConfigError("image.save", file=path, cause=getattr(cause, "strerror", "") or cause) from cause
        return file


class Model:
    """A trained model: a run's best weights, with its class names and the preprocessing of its images.

    It answers as the page does, may be called from several threads, and stays in memory.
    """

    def __init__(self, run: Run, weights: str = "best") -> None:
        """Load the weights of a run; use `ftlab.load` to name the run.

        A run without weights, or with damaged ones, gives a `RunError`.

        Args:
            run: directory of the run.
            weights: `best` by validation, or `last`: as the training left it.

        Raises:
            ConfigError: `weights` is neither.
        """
        from ftlab.inference.load_model import load_predictor

        if weights not in ("best", "last"):
            raise ConfigError("config.choice", name="weights", value=weights, choices="best, last")
        self.run = run
        self._predictor: Predictor = load_predictor(run, weights)

    def __repr__(self) -> str:
        """Return the run's name and the number of its classes."""
        return f"<ftlab.Model {self.run.name}: {len(self.class_names)} classes>"

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the network's outputs."""
        return self._predictor.class_names

    def predict(self, image: ImageInput, top: int = 5) -> list[Prediction]:
        """Predict the most probable classes of an image.

        A file that cannot be read gives an `ImageError`, in one line.

        Args:
            image: path of a file, a binary stream, a PIL image, or uint8 [H, W, 3] RGB or [H, W] gray.
            top: number of classes to return, at least 1; all if there are fewer.

        Returns:
            The classes with their probabilities, the most probable first.

        Raises:
            ConfigError: `top` is below 1; an image that is none of these raises one too.
        """
        from ftlab.inference.image_input import open_image_source

        if top < 1:
            raise ConfigError("config.bounds", name="top", value=top, low=1, high=len(self.class_names))
        scores = self._predictor.predict(open_image_source(image), top)
        return [Prediction(score.name, score.probability) for score in scores]

    def explain(
        self, image: ImageInput, class_name: str | None = None, *, method: str = "grad_cam", layer: str = ""
    ) -> Explanation:
        """Compute where in an image the evidence for a class lies.

        A file that cannot be read gives an `ImageError`, a layer without a spatial grid a `ConfigError`.

        Args:
            image: as for `predict`.
            class_name: of the class to explain; None selects the most probable one.
            method: `grad_cam` (Selvaraju et al., 2017), `grad_cam_pp`, `hires_cam` or `layer_cam`.
            layer: path of the target layer within the backbone; empty selects the backbone's default.

        Returns:
            The map, and the image with the map over it.

        Raises:
            ConfigError: the class or the method does not exist.
        """
        from ftlab.inference import heatmap
        from ftlab.inference.cam_options import CAM_METHODS, CamOptions
        from ftlab.inference.image_input import open_image_source

        if class_name is not None and class_name not in self.class_names:
            raise ConfigError("config.class", name=class_name, names=", ".join(self.class_names))
        if method not in CAM_METHODS:
            raise ConfigError("config.choice", name="method", value=method, choices=", ".join(CAM_METHODS))
        class_index = None if class_name is None else self.class_names.index(class_name)
        scores, explanation = self._predictor.predict_and_explain(
            open_image_source(image), class_index, len(self.class_names), CamOptions(method, layer)
        )
        score = next(score for score in scores if score.class_index == explanation.class_index)
        overlay = heatmap.blend_overlay(explanation.image, explanation.heatmap, explanation.visible_box)
        return Explanation(
            score.name,
            score.probability,
            explanation.image,
            explanation.heatmap,
            overlay,
            explanation.cam_options.method,
            explanation.cam_options.layer_path,
        )


def train(
    data: Path | str = "",
    *,
    runs: Path | str = "runs",
    on_event: Callable[[Event], None] | None = None,
    **settings: Any,
) -> Model:
    """Train on a folder of images in this process, and return the best model.

    The run directory that it writes is that of the page and the command line: the page shows the training while it
    runs, `python -m ftlab resume` continues it after an interruption, and `ftlab.load` loads its model again.

    An interrupt (Ctrl+C) stops the training at its next step, saves it, and is then raised; an exception of `on_event`
    stops it at once. A setting that does not exist or does not fit gives a `ConfigError`, as does a call that names no
    data; images or weights that cannot be used give a `DataError` or `WeightsError`. Each is one line.

    Args:
        data: a folder with a sub-folder for each class, or with `train/` and `val/`; an archive; or a manifest. Empty
            with `sample="shapes"`, the built-in sample set.
        runs: folder of all runs; the new run gets a folder in it.
        on_event: called with every event of the training (`ftlab.runs.events`): epochs, steps, checkpoints.
        **settings: settings by name, such as `backbone`, `mode`, `epochs`, `learning_rate`; what is left out depends on
            the backbone and the mode. `python -m ftlab train --help` lists them all.

    Returns:
        The model with the best weights by validation.

    Raises:
        RunError: the training ended without a model.
    """
    from ftlab.cli.common import train_process
    from ftlab.data.dataset import from_config

    config = train_process.prepare_config(_build_config(data, settings), runs)
    source = from_config.locate_source(config)
    run = run_store.create_run(runs, config)
    # Closed explicitly: an exception of `on_event` must not keep the run owned for as long as its traceback lives.
    with closing(train_process.record_training(run, config, source)) as events:
        for event in events:
            if on_event:
                on_event(event)
    end_event = run.liveness.read_end_event()
    if end_event is None or end_event.reason == "failed":
        raise RunError("run.failed", run=run.name, cause=(end_event and end_event.message) or "")
    return Model(run)


def load(run: Path | str = "latest", *, runs: Path | str = "runs", weights: str = "best") -> Model:
    """Load the model of a run.

    Args:
        run: path of a run directory, or the name of a run in `runs` (a prefix or suffix will do), or `latest`.
        runs: folder of all runs, for a name.
        weights: `best` by validation, or `last`: as the training left it.

    Returns:
        The model.

    Raises:
        RunError: the run does not exist, or has no weights yet.
    """
    folder = Path(run)
    if (folder / "config.json").is_file():
        return Model(Run(folder.absolute()), weights)
    if folder.name != str(run):
        raise RunError("run.missing", run=folder.name, folder=folder.parent)
    return Model(run_store.find_usable_run(runs, str(run)), weights)


def scan(data: Path | str = "", **settings: Any) -> Catalog:
    """Look through a folder of images: its classes, how it would be split, and every file that cannot be used.

    Nothing is written to the folder. A folder that does not exist or holds no images gives a `DataError`.

    Args:
        data: a folder, an archive or a manifest, as for `train`.
        **settings: `sample`, `val_share`, `test_share`, `seed`, `holdout` and `exclude`, as for `train`.

    Returns:
        The catalog: `classes`, `splits` (images of `train`, `val` and `test`), `problems` and `count_images()`.
    """
    from ftlab.data.dataset import from_config

    source = user_dirs.expand_home(data).absolute() if str(data) else data
    return from_config.resolve_dataset(_build_config(source, settings))


def _build_config(data: Path | str, settings: dict[str, Any]) -> TrainConfig:
    """Return the configuration of a data set and settings by name; paths may be `Path`, numbers those of NumPy."""
    from ftlab.config import train_config

    values = {"data": data, **settings}
    return train_config.config_from_json({name: _to_plain_value(value) for name, value in values.items()})


def _to_plain_value(value: Any) -> Any:
    """Return a path as text, several names as one text, and a number of NumPy as Python's; anything else as it is."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value):
        return ",".join(value)
    # By its module's name, for this module imports no NumPy.
    return value.item() if type(value).__module__ == "numpy" and hasattr(value, "item") else value
