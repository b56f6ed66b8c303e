"""A person's mistake is one clear line: what, where, and what to do."""

from __future__ import annotations

import pickle

import pytest

from ftlab.core import errors
from ftlab.core.errors import ConfigError, DataError, FtlabError, ImageError, RunError, WeightsError


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    children = {cls.__name__ for cls in FtlabError.__subclasses__() if cls.__module__ == "ftlab.core.errors"}
    assert children == {"ConfigError", "DataError", "ImageError", "WeightsError", "RunError", "ExportError"}
    assert all(f"─ {name} " in (errors.__doc__ or "") for name in children)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ConfigError("config.two_sources"), "Give either a folder (--data) or a sample set (--sample), not both."),
        (
            DataError("data.missing", folder="/x"),
            "There is no folder /x. Check the path; it is case-sensitive.",
        ),
        (RunError("run.busy", run="r"), "Run r is still training. Stop it first, or wait."),
        (
            ImageError("too_long", file="a.png", width=900, height=1, limit=200),
            "a.png: It is 900 × 1 pixels: more than 200 times as long as wide. "
            "Cut it into parts that are closer to a square.",
        ),
    ],
)
def test_an_error_reads_as_one_line(error: FtlabError, line: str) -> None:
    assert str(error) == line
    assert error.args == (error.code,)


def test_an_error_stays_one_line_whatever_a_file_is_called() -> None:
    odd = "x\n\x1b[31m\u202e.png"
    for error in (DataError("data.missing", folder=odd), ImageError("empty", file=odd)):
        assert r"x\x0a\x1b[31m\u202e.png" in str(error)
        assert error.values.get("file", error.values.get("folder")) == odd


def test_a_picture_error_tells_problem_and_remedy_apart() -> None:
    error = ImageError("empty", file="a.png")
    assert (error.problem, error.remedy) == ("The file is empty.", "Copy or download it again.")


def test_an_error_can_be_handed_to_another_process() -> None:
    error = pickle.loads(pickle.dumps(WeightsError("weights.missing", title="X", file="f", megabytes="3", cause="c")))
    assert isinstance(error, WeightsError)
    assert error.values["title"] == "X"
