"""The errors a person can mend. Each holds a code and values; the sentence stands in `ftlab/core/messages`.

FtlabError
├── ConfigError    a knob outside its bounds, or two that contradict each other
├── DataError      a folder, a zip or a list that cannot be used
├── ImageError   one file that cannot be read as a picture
├── WeightsError   weights that are neither here nor to be had
└── RunError       a run that does not exist, is busy, or has nothing to give

Everything else that is raised is a bug and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Mapping

from ftlab.core import messages


class FtlabError(Exception):
    """A mistake with a remedy.

    Args:
        code: key below `error.` in the words, for example `data.missing`.
        values: what the sentence names (file, limit, suggestion …).
    """

    def __init__(self, code: str, **values: object) -> None:
        super().__init__(code)
        self.code = code
        self.values: Mapping[str, object] = values

    def __str__(self) -> str:
        return messages.get_text(f"error.{self.code}", **_escape_values(self.values))


def _escape_values(values: Mapping[str, object]) -> dict[str, object]:
    """Values as a sentence takes them: numbers as they are, so that it can format them; all else held to one line."""
    return {
        name: value if isinstance(value, (int, float)) else messages.escape_control_chars(value)
        for name, value in values.items()
    }


class ConfigError(FtlabError):
    """A knob outside its bounds, or two that contradict each other."""


class DataError(FtlabError):
    """A folder, a zip or a list that cannot be used."""


class ProblemMessages:
    """What is wrong with one file, in two sentences: for an error that is raised, and for a problem that is listed.

    Attributes:
        code: `problem.<code>` and `remedy.<code>` in the words.
        values: what the sentences name.
    """

    code: str
    values: Mapping[str, object]

    @property
    def problem(self) -> str:
        """What is wrong, without the file's name."""
        return messages.get_text(f"problem.{self.code}", **_escape_values(self.values))

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return messages.get_text(f"remedy.{self.code}", **_escape_values(self.values))


class ImageError(ProblemMessages, FtlabError):
    """One file that cannot be read as a picture.

    `code` is also the code of the problem that a scan lists: `problem.<code>` says what is wrong and
    `remedy.<code>` what to do. The values name at least the file.
    """

    def __str__(self) -> str:
        file = messages.escape_control_chars(self.values["file"])
        return messages.get_text("error.picture.line", file=file, problem=self.problem, remedy=self.remedy)


class WeightsError(FtlabError):
    """Weights that are neither here nor to be had."""


class RunError(FtlabError):
    """A run that does not exist, is busy, or has nothing to give."""
