"""Errors that a user can fix: each holds a code and values, and its sentence is in `ftlab/core/messages`.

FtlabError
├── ConfigError    a setting out of bounds, or two settings that contradict each other
├── DataError      a folder, an archive or a list that cannot be used
├── ImageError     a file that cannot be read as an image
├── WeightsError   weights that are neither on this machine nor can be downloaded
├── RunError       a run that does not exist, is busy, or lacks what is requested
└── ExportError    a model that cannot be exported, or whose export does not agree with it

Every other exception is a bug and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Mapping

from ftlab.core import messages


class FtlabError(Exception):
    """Base class of errors with a remedy, each shown to the user as one line.

    Attributes:
        code: key below `error.` in the message file, for example `data.missing`.
        values: what the sentence names (file, limit, suggestion …).
    """

    def __init__(self, code: str, **values: object) -> None:
        """Store the code and the values; the sentence is looked up only when the error is shown."""
        super().__init__(code)
        self.code = code
        self.values: Mapping[str, object] = values

    def __str__(self) -> str:
        """Return the sentence in the current language."""
        return messages.get_text(f"error.{self.code}", **_escape_values(self.values))


def _escape_values(values: Mapping[str, object]) -> dict[str, object]:
    """Return values for a sentence: numbers unchanged, so that it can format them; all else escaped to one line."""
    return {
        name: value if isinstance(value, (int, float)) else messages.escape_control_chars(value)
        for name, value in values.items()
    }


class ConfigError(FtlabError):
    """A setting out of bounds, or two settings that contradict each other."""


class DataError(FtlabError):
    """A folder, an archive or a list that cannot be used."""


class ProblemMessages:
    """Mixin with the two sentences about one file, for an error that is raised and for a problem that a scan lists.

    Attributes:
        code: the sentences are `problem.<code>` and `remedy.<code>` in the message file.
        values: what the sentences name.
    """

    code: str
    values: Mapping[str, object]

    @property
    def problem(self) -> str:
        """Return what is wrong, without the file's name."""
        return messages.get_text(f"problem.{self.code}", **_escape_values(self.values))

    @property
    def remedy(self) -> str:
        """Return what to do about it."""
        return messages.get_text(f"remedy.{self.code}", **_escape_values(self.values))


class ImageError(ProblemMessages, FtlabError):
    """One file that cannot be read as an image.

    `code` is also the code of the problem that a scan lists: `problem.<code>` says what is wrong and
    `remedy.<code>` what to do. The values name at least the file.
    """

    def __str__(self) -> str:
        """Return one line: the file, what is wrong with it, and what to do."""
        file = messages.escape_control_chars(self.values["file"])
        return messages.get_text("error.picture.line", file=file, problem=self.problem, remedy=self.remedy)


class WeightsError(FtlabError):
    """Weights that are neither on this machine nor can be downloaded."""


class RunError(FtlabError):
    """A run that does not exist, is busy, or lacks what is requested."""


class ExportError(FtlabError):
    """A model that cannot be exported, or an export that does not agree with its model."""
