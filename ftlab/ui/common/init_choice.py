"""Which weights a page may start a training from, whoever sent their name. Knows no gradio."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import RunError, WeightsError
from ftlab.models.pretrained import checkpoint_import
from ftlab.runs import run_store
from ftlab.ui.common.access import Profile, inside


def checked(profile: Profile, settings: TrainConfig) -> TrainConfig:
    """The same settings with the whole path in `init`.

    On a public Space a run alone will do, by its whole name with its random bits: who knows that may use it. Where
    others reach this server, files of torch's own kind are not read.

    Raises:
        WeightsError, RunError, DataError, ConfigError: there is none, or it is not for this page.
    """
    if not settings.init:
        return settings
    if profile.space:
        if settings.init not in run_store.names(profile.runs):
            raise WeightsError("init.closed")
        return checkpoint_import.resolve(_at(settings, profile.runs / settings.init), profile.runs)
    try:
        run = run_store.find(profile.runs, settings.init)
    except RunError as unknown:
        if len(Path(settings.init).parts) < 2 and Path(settings.init).suffix.lower() not in checkpoint_import.SUFFIXES:
            raise unknown
        if profile.data_root is None:
            raise WeightsError("init.closed") from unknown
        place = inside(profile.data_root, settings.init)
        if place.suffix.lower() in checkpoint_import.PICKLED and not profile.local:
            raise WeightsError("init.pickled", file=settings.init) from unknown
        return checkpoint_import.resolve(_at(settings, place), profile.runs)
    return checkpoint_import.resolve(_at(settings, run.path), profile.runs)


def _at(settings: TrainConfig, place: Path) -> TrainConfig:
    return dataclasses.replace(settings, init=str(place))
