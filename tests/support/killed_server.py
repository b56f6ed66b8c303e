"""A class whose server is killed again and again, at random moments, and started again."""

from __future__ import annotations

import itertools
import random
import time
from dataclasses import dataclass, field
from pathlib import Path

from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.runs.events import Ended, Started
from ftlab.runs.jobs.local_launcher import open_queue
from ftlab.runs.liveness import ACTIVE_STATUSES
from tests.support.live_class import LONG, SHORT, LiveClass
from tests.support.page_client import Tab
from tests.support.staged_jobs import until

MOST_DELAY_SECONDS = 8.0
"""Seconds at most from a start to the next kill: a spare process is started after five."""


@dataclass
class KillReport:
    """What became of a class.

    Attributes:
        kills: how often its server was killed.
        seconds: of each new start, until the page answered and showed what had been there.
        faults: what was lost, doubled or left behind.
    """

    kills: int = 0
    seconds: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def kill_server(folder: Path, kills: int, trainings: int, dice: random.Random) -> KillReport:
    """Kill the server of a class so many times while one training is at work and others wait, and then while they are
    worked off; each must be trained once."""
    live, report = LiveClass(folder), KillReport()
    try:
        ann, ben = Tab(live.enroll("Ann")), Tab(live.enroll("Ben"))
        long_name, answer = live.start(ann, LONG)
        assert long_name, answer
        long_run = live.get_run(long_name)
        until(lambda: long_run.load_history().steps_done)
        names = [live.start((ann, ben)[number % 2], SHORT)[0] for number in range(trainings)]
        for number in range(kills):
            ann.send("rescan_dataset", **live.name_pictures())  # files are decoded, by processes of their own
            if number == 0:
                until(lambda: any("spare" in process.cmdline() for process in live.server.list_processes()))
            else:
                time.sleep(dice.uniform(0, MOST_DELAY_SECONDS))
            _kill_once(live, ann, report)
            steps = long_run.load_history().steps_done
            until(lambda least=steps: long_run.load_history().steps_done > least)  # type: ignore[misc]
        live.act("stop", run=long_name)
        while _list_active(live.server.runs):
            time.sleep(dice.uniform(0, MOST_DELAY_SECONDS))
            if _list_active(live.server.runs) and report.kills < 2 * kills:
                _kill_once(live, ann, report)
        report.faults += _find_doubles([long_run, *map(live.get_run, names)])
        statuses = [live.get_run(name).liveness.get_status() for name in names]
        report.faults += [f"a run is {status}" for status in statuses if status != "finished"]
    finally:
        report.faults += [f"left behind: {stray}" for stray in live.close()]
    return report


def _kill_once(live: LiveClass, tab: Tab, report: KillReport) -> None:
    """Kill the server, look for what it leaves behind, start it again, and look for what it has lost."""
    live.server.kill()
    report.kills += 1
    report.faults += [f"left behind: {stray}" for stray in live.list_strays()]
    state = open_queue(live.server.runs).read_state()
    waiting, names = [job.run.name for job in state.waiting], set(run_store.list_run_names(live.server.runs))
    began = time.monotonic()
    live.server.start()
    roster = live.read_roster()
    rows = Tab(tab.http).call("list_runs_1").text
    report.seconds.append(time.monotonic() - began)
    if [member["name"] for member in roster["members"]] != ["Ms Lee", "Ann", "Ben"]:
        report.faults.append(f"members: {roster['members']}")
    owners = {row["run"]: row["owner"] for row in (*roster["queue"], *roster["runs"])}
    if set(owners) != names or not set(owners.values()) <= {"Ann", "Ben"}:
        report.faults.append(f"runs: {owners}")
    # The first ones may have begun meanwhile.
    shown = [row["run"] for row in roster["queue"]]
    if shown != waiting[len(waiting) - len(shown) :] or len(waiting) - len(shown) > 1:
        report.faults.append(f"queue: {shown} instead of {waiting}")
    own = [name for name, owner in owners.items() if owner == "Ann"]
    if not all(name in rows for name in own):
        report.faults.append(f"Ann's table has not all of {own}")


def _list_active(root: Path) -> list[str]:
    runs = [Run(root / name) for name in run_store.list_run_names(root)]
    return [run.name for run in runs if run.liveness.get_status() in ACTIVE_STATUSES]


def _find_doubles(runs: list[Run]) -> list[str]:
    """Runs that began more than once, or while another one was at work."""
    faults, spans = [], []
    for run in runs:
        events = run.read_events()[0]
        starts = [event.time for event in events if isinstance(event, Started)]
        ends = [event.time for event in events if isinstance(event, Ended)]
        if (len(starts), len(ends)) != (1, 1):
            faults.append(f"{run.name} began {len(starts)} times and ended {len(ends)} times")
        else:
            spans.append((starts[0], ends[0]))
    spans.sort()
    faults += ["two at once" for (_, end), (start, _) in itertools.pairwise(spans) if start < end]
    return faults
