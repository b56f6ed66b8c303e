"""Prediction for many image files on the machines of a Ray cluster, by Ray Data.

Each core, or each GPU where the cluster has some, has an actor that holds the model. Ray Data hands out the files in
blocks, starts the blocks of a lost machine again elsewhere, and waits where answers are not fetched; each block yields
one answer per file, so that none is lost and none comes twice. The images are read where they are predicted, from a
path that all machines share.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ftlab.core import lazy_import
from ftlab.core.errors import ImageError, RunError
from ftlab.inference import batch_predict
from ftlab.inference.load_model import load_predictor
from ftlab.inference.predictor import ClassScore
from ftlab.models.execution import engines
from ftlab.models.execution.device import detect_device
from ftlab.runs.cluster import address
from ftlab.runs.directory import Run

BLOCK_IMAGES = 64
"""Images that an actor predicts at a time: what is repeated at most where its machine is lost."""


class BlockPredictor:
    """Actor of the cluster: holds a model and predicts blocks of files with one thread."""

    def __init__(self, run_path: str, image_count: int, k: int) -> None:
        """Load the model and its engine.

        Args:
            run_path: the run directory; empty for the pretrained network.
            image_count: images of the whole prediction.
            k: classes to return for each file, at most.
        """
        self._model, self._k = load_predictor(Run(run_path) if run_path else None), k
        # By rule and not by measuring: all actors are to have the same engine, however busy their machine is.
        engine_name = engines.expected_engine(self._model.spec, torch.device(detect_device()), view_count=image_count)
        self._engine = batch_predict.choose_engine(self._model, image_count, engine_name)

    def __call__(self, block: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        """Return the answers for a block of files.

        Args:
            block: `path` has the paths of N files.

        Returns:
            `path` as given, and `answer` with N answers as `pack_answer` writes them.
        """
        paths = [Path(path) for path in block["path"]]
        answers = batch_predict.predict_chunk(self._model, self._engine, paths, self._k, thread_count=1)
        return {"path": list(map(str, paths)), "answer": [pack_answer(answer) for _, answer in answers]}


def predict_files(
    run: Run | None, image_paths: Sequence[Path], k: int
) -> Iterator[tuple[Path, list[ClassScore] | ImageError]]:
    """Predict the most probable classes of each file on the cluster of this machine, in the order given.

    Args:
        run: whose model is used; None for the pretrained network. It must be reachable under its path everywhere.
        image_paths: of the files, likewise.
        k: classes to return for each file, at most.

    Yields:
        Each path with its scores, the most probable class first, or with the error where the file cannot be read.

    Raises:
        RunError: this machine belongs to no cluster.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray, ray_data = lazy_import.import_module("ray"), lazy_import.import_module("ray.data")
    try:
        # Standard output is for the answers.
        ray.init("auto", log_to_driver=False, runtime_env={"env_vars": select_variables(os.environ)})
    except ConnectionError as cause:
        raise RunError("cluster.unreachable", address="auto", cause=str(cause).partition("\n")[0]) from cause
    try:
        context = ray_data.DataContext.get_current()
        context.enable_progress_bars = False
        context.execution_options.preserve_order = True
        resources = ray.cluster_resources()
        gpu_count = int(resources.get("GPU", 0))
        actor_count = max(1, gpu_count or int(resources.get("CPU", 1)))
        dataset = ray_data.from_items(
            [{"path": str(path.absolute())} for path in image_paths],
            override_num_blocks=math.ceil(len(image_paths) / BLOCK_IMAGES),
        )
        answers = dataset.map_batches(
            BlockPredictor,
            fn_constructor_args=(str(run.path.absolute()) if run else "", len(image_paths), k),
            batch_size=None,
            compute=ray_data.ActorPoolStrategy(min_size=1, max_size=actor_count),
            num_cpus=1,
            num_gpus=1 if gpu_count else 0,
        )
        for path, row in zip(image_paths, answers.iter_rows(), strict=True):
            yield path, unpack_answer(row["answer"])
    finally:
        ray.shutdown()


def select_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables of the actors: where ftlab and weights lie, on paths that all machines share.

    Args:
        environment: that of this process; nothing else of it leaves the machine.
    """
    return address.select_variables(environment, {"FTLAB_HOME", "FTLAB_LANGUAGE"}.__contains__)


def pack_answer(answer: list[ClassScore] | ImageError) -> str:
    """Return an answer as JSON, in which a cluster passes it on."""
    if isinstance(answer, ImageError):
        values = {
            name: value if isinstance(value, (int, float)) else str(value) for name, value in answer.values.items()
        }
        return json.dumps({"code": answer.code, "values": values})
    return json.dumps({"scores": [dataclasses.astuple(score) for score in answer]})


def unpack_answer(text: str) -> list[ClassScore] | ImageError:
    """Return the answer that `pack_answer` has written."""
    content: dict[str, Any] = json.loads(text)
    if "code" in content:
        return ImageError(content["code"], **content["values"])
    return [ClassScore(*score) for score in content["scores"]]
