"""Run all benchmarks and render their table: `python -m benchmarks FOLDER`, `make bench ARGS=FOLDER`.

    python -m benchmarks FOLDER --write
    python -m benchmarks FOLDER --only against --having reference --write
    python -m benchmarks FOLDER --against ../old

FOLDER has `train/` and `val/`, each with one folder of photographs per class (PyTorch's ants and bees). Each program
runs in a process of its own and prints its measurements as it goes. With `--write`, the tables of docs/benchmarks.md
are replaced if all programs ran; else only the measured rows are replaced, and all others stay. Programs that compare
with an older commit need `--against`, a checkout of it: `git worktree add ../old 658560c`. Without, they are left out.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from benchmarks import row, table, two_commits
from benchmarks.process import PROJECT_ROOT
from benchmarks.row import Measurement

PROGRAMS: tuple[tuple[str, ...], ...] = (
    ("startup", "FOLDER"),
    ("pipeline", "FOLDER"),
    ("looking",),
    ("full_speed", "FOLDER"),
    ("full_speed", "FOLDER", "--backbone", "resnet18"),
    ("training_steps", "FOLDER"),
    ("growth", "FOLDER"),
    ("isolation", "FOLDER"),
    ("page",),
    ("many_pictures", "FOLDER"),
    ("against", "FOLDER", "--mode", "frozen"),
    ("against", "FOLDER", "--mode", "full", "--epochs", "10"),
    ("against", "FOLDER", "--mode", "full", "--epochs", "10", "--backbone", "resnet18", "--random"),
    ("against", "FOLDER", "--mode", "full", "--epochs", "10", "--peer", "reference"),
    ("against", "FOLDER", "--mode", "full", "--epochs", "10", "--peer", "tuned", "--batch-size", "32"),
    ("upper_layers", "FOLDER"),
    ("upper_layers", "FOLDER", "--classes", "101", "--rounds", "1", "--ways", "all", "cached"),
    ("against", "FOLDER", "--peer", "fastai", "--peer-mode", "full", "--peer-epochs", "3", "--until", "0.95"),
    ("against_maps", "FOLDER"),
    ("explaining", "FOLDER"),
    ("inspecting", "FOLDER"),
    ("answers", "FOLDER", "--against", "WORKTREE"),
    ("scale", "FOLDER", "--against", "WORKTREE"),
    ("full_training", "FOLDER", "--against", "WORKTREE"),
    ("kept_start", "FOLDER", "--against", "WORKTREE"),
    ("gpu", "FOLDER"),
)
"""Name and arguments of each benchmark, in the order in which they run; `FOLDER` and `WORKTREE` are filled in."""
RESULTS_PAGE = PROJECT_ROOT / "docs" / "benchmarks.md"
DRAW_ARGUMENTS = {"growth": ("--draw", "assets/growth.svg")}
"""Further arguments of programs that also draw a figure for the page."""


def main() -> int:
    """Run the selected programs; the exit status is 1 if one failed.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=sorted({program[0] for program in PROGRAMS}), metavar="NAME")
    parser.add_argument(
        "--having", nargs="+", default=[], metavar="WORD", help="only where the words have all of these"
    )
    parser.add_argument("--write", action="store_true", help="put what was measured into docs/benchmarks.md")
    two_commits.add_against_option(parser)
    options = parser.parse_args()
    replacements = {"FOLDER": str(options.folder.absolute()), "WORKTREE": str(options.against)}
    selected_programs = [program for program in PROGRAMS if not options.only or program[0] in options.only]
    selected_programs = [program for program in selected_programs if set(options.having) <= set(program)]
    if not options.against:
        left_out = [program for program in selected_programs if "WORKTREE" in program]
        selected_programs = [program for program in selected_programs if program not in left_out]
        if left_out:
            names = ", ".join(sorted({program[0] for program in left_out}))
            print(f"Left out, as they need --against WORKTREE: {names}", file=sys.stderr)
    machine_info = table.describe_machine()
    measurements: list[Measurement] = []
    failed = False
    # One process after the other: two at a time would measure each other.
    for name, *program_arguments in selected_programs:
        arguments = [replacements.get(argument, argument) for argument in program_arguments]
        arguments += DRAW_ARGUMENTS.get(name, ()) if options.write else ()
        with subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.{name}", *arguments],
            cwd=PROJECT_ROOT,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout
            # Line by line, as some programs run for a long time.
            for line in process.stdout:
                print(line, end="", flush=True)
                measurement = row.parse_measurement(line)
                measurements += [measurement] if measurement else []
        failed |= process.returncode != 0
    print(f"\n{table.render_table(machine_info, measurements)}")
    if options.write:
        # A failed program has rows missing: its old ones must stay.
        is_complete = len(selected_programs) == len(PROGRAMS) and not failed
        text = table.update_page(
            RESULTS_PAGE.read_text(encoding="utf-8"), machine_info, measurements, replace_all=is_complete
        )
        RESULTS_PAGE.write_text(text, encoding="utf-8")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
