"""Which weights a page may start a training from, whoever sent their name. Knows no gradio."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import RunError, WeightsError
from ftlab.models.pretrained import checkpoint_import
from ftlab.runs import run_store
from ftlab.ui.common.access import ServerProfile, resolve_inside


def resolve_init(profile: ServerProfile, config: TrainConfig) -> TrainConfig:
    """The same settings with the whole path in `init`.

    On a public Space a run alone will do, by its whole name with its random bits: who knows that may use it. Where
    others reach this server, files of torch's own kind are not read.

    Raises:
        WeightsError, RunError, DataError, ConfigError: there is none, or it is not for this page.
    """
    if not config.init:
        return config
    if profile.is_space:
        if config.init not in run_store.list_run_names(profile.runs_dir):
            raise WeightsError("init.closed")
        return checkpoint_import.resolve_init(_set_init_path(config, profile.runs_dir / config.init), profile.runs_dir)
    try:
        run = run_store.find_run(profile.runs_dir, config.init)
    except RunError as error:
        if (
            len(Path(config.init).parts) < 2
            and Path(config.init).suffix.lower() not in checkpoint_import.CHECKPOINT_SUFFIXES
        ):
            raise error
        if profile.data_root is None:
            raise WeightsError("init.closed") from error
        file_path = resolve_inside(profile.data_root, config.init)
        if file_path.suffix.lower() in checkpoint_import.PICKLE_SUFFIXES and not profile.is_local:
            raise WeightsError("init.pickled", file=config.init) from error
        return checkpoint_import.resolve_init(_set_init_path(config, file_path), profile.runs_dir)
    return checkpoint_import.resolve_init(_set_init_path(config, run.path), profile.runs_dir)


def _set_init_path(config: TrainConfig, path: Path) -> TrainConfig:
    return dataclasses.replace(config, init=str(path))
