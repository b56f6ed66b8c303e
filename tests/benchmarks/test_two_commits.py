"""Two checkouts measured in turn by one interpreter."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from benchmarks import two_commits
from benchmarks.process import PROJECT_ROOT, run_python
from benchmarks.two_commits import PairedValues


@pytest.fixture
def other_checkout(tmp_path: Path) -> Path:
    """A checkout with a package of the same name."""
    (tmp_path / "ftlab").mkdir()
    (tmp_path / "ftlab" / "__init__.py").touch()
    return tmp_path


def test_each_checkout_runs_its_own_package(other_checkout: Path) -> None:
    code = "import ftlab, json; print(json.dumps({'file': ftlab.__file__}))"
    files = {Path(run_python(["-c", code], folder)[0]["file"]) for folder in (PROJECT_ROOT, other_checkout)}
    assert files == {folder / "ftlab" / "__init__.py" for folder in (PROJECT_ROOT, other_checkout)}


def test_rounds_alternate_and_the_first_ones_warm_up(other_checkout: Path) -> None:
    order: list[Path] = []

    def measure(checkout: Path) -> float:
        order.append(checkout)
        return float(len(order))

    values = two_commits.measure_in_turn(measure, other_checkout, 2)
    assert order == [PROJECT_ROOT, other_checkout, other_checkout, PROJECT_ROOT, PROJECT_ROOT, other_checkout]
    assert (values.new, values.old) == ([4.0, 5.0], [3.0, 6.0])


def test_the_ratio_is_the_median_of_the_rounds_ratios(capsys: pytest.CaptureFixture[str]) -> None:
    values = PairedValues([1.0, 4.0, 3.0], [2.0, 4.0, 4.0])
    two_commits.report_ratio("a relative to 658560c", values, 0.5, values.describe("s"))
    row = json.loads(capsys.readouterr().out)["row"]
    assert (row["figure"], row["wanted"], row["most"]) == (0.75, 0.5, True)
    assert row["seen"] == "now 3 s, 658560c 4 s; medians of 3 rounds"


def test_a_folder_without_ftlab_is_refused_with_what_to_do(
    tmp_path: Path, other_checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    two_commits.add_against_option(parser)
    assert parser.parse_args(["--against", str(other_checkout)]).against == other_checkout
    with pytest.raises(SystemExit):
        parser.parse_args(["--against", str(tmp_path / "nothing")])
    assert "git worktree add" in capsys.readouterr().err
