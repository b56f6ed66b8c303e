"""What the teacher of a class has decided: whether trainings may start, with which settings, on which data sets.

The rules are a file beside that of the members. Each question is answered from the file, so that every process of the
server follows them, and a restart keeps them.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from ftlab.config.mode_defaults import get_mode_defaults
from ftlab.config.train_config import MODES, SAMPLE_SET_NAMES, TrainConfig
from ftlab.core import file_io, json_fields, messages
from ftlab.core.errors import DataError, RunError
from ftlab.runs.comparison import get_backbone_title
from ftlab.runs.queue import queue_pause
from ftlab.server.people.member_register import MEMBERS_FOLDER
from ftlab.server.people.person import Person
from ftlab.server.people.person_names import normalize_name

RULES_FILE = "lesson.json"
HANDED_PREFIX = "handed:"
"""Beginning of the name of a handed data set where it stands among other sources of images."""
OWN_SOURCE = "own"
"""Source in `LessonSettings.sources`: folders, uploads and data sets of tutorials that a student chooses."""
MAX_HANDED_DATASETS = 12
"""Data sets that are handed out at a time: each is a button on every page."""

_LOCKS = frozenset({"backbones", "modes", "max_epochs", "sources"})
"""Fields of the file that limit what a student may train."""


@dataclass(frozen=True)
class HandedDataset:
    """A data set that the teacher hands to all.

    Attributes:
        name: random name, by which a page chooses it.
        title: for people.
        folder: its folder, zip or list; empty for an upload.
        upload: token of the upload; empty for a folder.
    """

    name: str
    title: str
    folder: str = ""
    upload: str = ""

    @property
    def source(self) -> str:
        """Return its name among other sources of images."""
        return f"{HANDED_PREFIX}{self.name}"


@dataclass(frozen=True)
class LessonSettings:
    """The rules of a lesson.

    Attributes:
        is_paused: no training starts, and the queue is held.
        backbones: those that may be trained; empty: all.
        modes: those that may be used; empty: all.
        max_epochs: the most epochs of a training; 0: no limit.
        sources: sample sets, handed data sets (`handed:…`) and `OWN_SOURCE` that may be trained on; empty: all.
        handed: data sets that every page offers.
        projected_run: name of the run on the projector; empty: how to join.
    """

    is_paused: bool = False
    backbones: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    max_epochs: int = 0
    sources: tuple[str, ...] = ()
    handed: tuple[HandedDataset, ...] = field(default=())
    projected_run: str = ""


class LessonRules:
    """Rules of the class of a server; nobody is bound by those of a server for one person."""

    _write_lock = threading.Lock()

    def __init__(self, runs_dir: Path) -> None:
        """Refer to the file, which exists once a teacher has decided something.

        Args:
            runs_dir: folder of the runs.
        """
        self._runs_dir = runs_dir
        self._path = runs_dir / MEMBERS_FOLDER / RULES_FILE

    def read(self) -> LessonSettings:
        """Return the rules as they are now.

        Where a lock is damaged, no training starts until the teacher allows it: what was locked is not known.
        """
        is_paused = queue_pause.is_paused(self._runs_dir)
        try:
            values = json_fields.read_json_object(self._path)
        except (FileNotFoundError, NotADirectoryError):  # nobody has decided anything
            return LessonSettings(is_paused=is_paused)
        except (OSError, ValueError):
            return LessonSettings(is_paused=True)
        settings, handed = LessonSettings(), []
        stored_datasets = values.pop("handed", None)
        for entry in stored_datasets if isinstance(stored_datasets, list) else ():
            if isinstance(entry, dict):
                with suppress(TypeError):
                    handed.append(json_fields.build_dataclass(HandedDataset, entry))
        for field_name in {entry.name for entry in fields(LessonSettings)} & values.keys():
            value = values[field_name]
            # A list without what is damaged could be empty, which would allow everything.
            if isinstance(value, list) and all(isinstance(item, str) for item in value):
                value = tuple(value)
            if type(value) is type(getattr(settings, field_name)):
                settings = replace(settings, **{field_name: value})
            else:
                is_paused = is_paused or field_name in _LOCKS
        return replace(settings, handed=tuple(handed), is_paused=is_paused)

    def change(self, **values: Any) -> LessonSettings:
        """Set some of the rules; an `OSError` says that they could not be written.

        Args:
            **values: fields of `LessonSettings`.

        Returns:
            The rules as they are now.
        """
        with self._write_lock:
            settings = replace(self.read(), **values)
            self._write(settings)
        return settings

    def hand_out(self, title: str, *, folder: str = "", upload: str = "") -> HandedDataset:
        """Offer a data set on every page; an `OSError` says that this could not be written.

        Args:
            title: for people.
            folder: path of a folder, zip or list that the caller has checked.
            upload: token of an upload that the caller has checked.

        Returns:
            The data set; where it was handed out already, the same as before, with the new title.

        Raises:
            DataError: there are `MAX_HANDED_DATASETS` already.
        """
        with self._write_lock:
            settings = self.read()
            others = [entry for entry in settings.handed if (entry.folder, entry.upload) != (folder, upload)]
            known = next((entry for entry in settings.handed if entry not in others), None)
            if known is None and len(others) >= MAX_HANDED_DATASETS:
                raise DataError("lesson.too_many_handed", most=MAX_HANDED_DATASETS)
            name = known.name if known else secrets.token_hex(4)
            dataset = HandedDataset(name, normalize_name(title) or name, folder, upload)
            self._write(replace(settings, handed=(*others, dataset)))
        return dataset

    def take_back(self, name: str) -> None:
        """Offer a data set no longer; trainings that use it go on.

        Args:
            name: name of the data set.
        """
        with self._write_lock:
            settings = self.read()
            # It stays among the allowed sources: an empty list would allow all.
            kept = tuple(entry for entry in settings.handed if entry.name != name)
            self._write(replace(settings, handed=kept))

    def find_handed(self, name: str) -> HandedDataset:
        """Return the data set of a name, as a page sent it.

        Raises:
            DataError: there is none, or no longer.
        """
        for entry in self.read().handed:
            if entry.name == name:
                return entry
        raise DataError("lesson.not_handed")

    def forget(self) -> None:
        """Remove all rules, at the end of a lesson."""
        self._path.unlink(missing_ok=True)
        queue_pause.set_paused(self._runs_dir, is_paused=False)

    def check_start(self, person: Person, config: TrainConfig) -> None:
        """Check that somebody may train with these settings now. Whoever leads may train with any.

        Args:
            person: who wants to train.
            config: configuration of the training.

        Raises:
            RunError: the teacher does not allow it now, or it sends something elsewhere: to a tracker, or as a copy.
        """
        if person.leads:
            return
        if config.trackers:
            raise RunError("run.tracker_host")
        if config.copy_to:
            raise RunError("run.copy_host")
        settings = self.read()
        if settings.is_paused:
            raise RunError("lesson.paused")
        if settings.backbones and config.backbone not in settings.backbones:
            raise RunError("lesson.backbone", allowed=format_backbones(settings.backbones))
        if settings.modes and config.mode not in settings.modes:
            raise RunError("lesson.mode", allowed=format_modes(settings.modes))
        epoch_count = config.epochs or get_mode_defaults(config.backbone, config.mode)["epochs"]
        if settings.max_epochs and epoch_count > settings.max_epochs:
            raise RunError("lesson.epochs", count=epoch_count, most=settings.max_epochs)
        if settings.sources and find_source(settings, config) not in settings.sources:
            raise RunError("lesson.source", allowed=", ".join(list_source_titles(settings, settings.sources)))

    def _write(self, settings: LessonSettings) -> None:
        values = asdict(settings)
        del values["is_paused"]  # the queue has it, for every process that starts trainings
        if settings.is_paused:  # before: the file may say that nothing is locked because it was damaged
            queue_pause.set_paused(self._runs_dir, is_paused=True)
        # The tokens of uploads are secret.
        file_io.write_private_file(self._path, json.dumps(values, ensure_ascii=False, indent=1).encode())
        queue_pause.set_paused(self._runs_dir, is_paused=settings.is_paused)


def find_source(settings: LessonSettings, config: TrainConfig) -> str:
    """Return which source of images a training uses, as `LessonSettings.sources` names it.

    Args:
        settings: the rules, which name the handed data sets.
        config: configuration of the training.
    """
    if config.sample:
        return config.sample
    dataset = match_handed(settings, config.data)
    return dataset.source if dataset else OWN_SOURCE


def match_handed(settings: LessonSettings, data: str) -> HandedDataset | None:
    """Return the handed data set that a training uses, None where it uses other images.

    Args:
        settings: the rules, which name the handed data sets.
        data: setting `data` of the training.
    """
    for entry in settings.handed:
        # The data of an upload is `<token>/<folder of the zip>`.
        if (data and data == entry.folder) or (entry.upload and entry.upload in Path(data).parts):
            return entry
    return None


def list_source_choices(settings: LessonSettings) -> list[tuple[str, str]]:
    """Return (title, name) of each source of images that can be allowed."""
    samples = [(messages.get_text(f"sample.{name}.title"), name) for name in SAMPLE_SET_NAMES]
    handed = [(entry.title, entry.source) for entry in settings.handed]
    return [*samples, *handed, (messages.get_text("lesson.own_source"), OWN_SOURCE)]


def list_source_titles(settings: LessonSettings, sources: tuple[str, ...]) -> list[str]:
    """Return the titles of sources.

    Args:
        settings: the rules, which name the handed data sets.
        sources: names as in `LessonSettings.sources`.
    """
    # None is left where all that is allowed was taken back.
    return [title for title, name in list_source_choices(settings) if name in sources] or ["–"]


def format_backbones(names: Iterable[str]) -> str:
    """Return backbones for people, in one line."""
    return ", ".join(map(get_backbone_title, names))


def format_modes(names: Iterable[str]) -> str:
    """Return modes for people, in one line; what is no mode stays as it is."""
    return ", ".join(messages.get_text(f"choice.mode.{name}") if name in MODES else name for name in names)


def describe_locks(settings: LessonSettings) -> list[str]:
    """Return what is locked, as sentences for students; none where everything is allowed."""
    sentences = [messages.get_text("lesson.is_paused")] if settings.is_paused else []
    if settings.backbones:
        sentences.append(messages.get_text("lesson.allowed_backbones", allowed=format_backbones(settings.backbones)))
    if settings.modes and len(settings.modes) < len(MODES):
        sentences.append(messages.get_text("lesson.allowed_modes", allowed=format_modes(settings.modes)))
    if settings.max_epochs:
        sentences.append(messages.get_text("lesson.allowed_epochs", most=settings.max_epochs))
    if settings.sources:
        titles = ", ".join(list_source_titles(settings, settings.sources))
        sentences.append(messages.get_text("lesson.allowed_sources", allowed=titles))
    return sentences
