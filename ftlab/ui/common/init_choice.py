"""Initial weights that a page may start a training from, checked on the server."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import RunError, WeightsError
from ftlab.models.pretrained import checkpoint_import, hub_access
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.server.paths import resolve_inside
from ftlab.server.people.rights import RunAction
from ftlab.server.profile import ServerProfile
from ftlab.ui.common.page_events import get_person


def resolve_init(profile: ServerProfile, config: TrainConfig) -> TrainConfig:
    """Resolve the initial weights of a configuration to an absolute path.

    Of runs, only those that the person may look at are accepted; on a public Space nothing else, by their full name.
    Where others reach this server, pickle files of torch are not read. Propagates `DataError` and `ConfigError`.

    Args:
        profile: profile of this server.
        config: configuration of the training.

    Returns:
        The configuration with the absolute path.

    Raises:
        RunError: no run has this name, and it does not look like a file.
        WeightsError: this server does not allow the file.
    """
    if not config.init_from:
        return config
    if hub_access.is_hub_address(config.init_from) and not profile.is_local:
        raise WeightsError("hub.closed")
    if hub_access.is_hub_address(config.init_from):
        return checkpoint_import.resolve_init(config, profile.runs_dir)
    if profile.is_space:
        if config.init_from not in run_store.list_run_names(profile.runs_dir):
            raise WeightsError("init.closed")
        if not get_person(profile).may_with(RunAction.LOOK, Run(profile.runs_dir / config.init_from)):
            raise RunError("run.missing", run=config.init_from, folder=profile.runs_dir)
        return checkpoint_import.resolve_init(
            _set_init_path(config, profile.runs_dir / config.init_from), profile.runs_dir
        )
    try:
        # A prefix that several runs have is answered with their names.
        run = run_store.find_usable_run(
            profile.runs_dir, config.init_from, lambda run: get_person(profile).may_with(RunAction.LOOK, run)
        )
    except RunError as error:
        # A bare name without a suffix of weights was meant as a run, so the error about runs helps more.
        if (
            len(Path(config.init_from).parts) < 2
            and Path(config.init_from).suffix.lower() not in checkpoint_import.CHECKPOINT_SUFFIXES
        ):
            raise error
        if profile.data_root is None:
            raise WeightsError("init.closed") from error
        file_path = resolve_inside(profile.data_root, config.init_from)
        if file_path.suffix.lower() in checkpoint_import.PICKLE_SUFFIXES and not profile.is_local:
            raise WeightsError("init.pickled", file=config.init_from) from error
        resolved = checkpoint_import.resolve_init(_set_init_path(config, file_path), profile.runs_dir)
        # The content decides how a file is read, so a pickle under another name is refused too.
        if not profile.is_local and not checkpoint_import.is_safetensors(Path(resolved.init_from)):
            raise WeightsError("init.pickled", file=config.init_from) from error
        return resolved
    return checkpoint_import.resolve_init(_set_init_path(config, run.path), profile.runs_dir)


def _set_init_path(config: TrainConfig, path: Path) -> TrainConfig:
    return dataclasses.replace(config, init_from=str(path))
