"""The curves of the page: their points are the data."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from ftlab.core import messages
from ftlab.runs.curves import MAX_CURVE_POINTS, CurvePoints, build_curves, compute_ticks, thin_curve
from ftlab.runs.events import Event, LogMessage
from ftlab.runs.history import History
from ftlab.ui.common.curves_view import render_curves
from tests.support import fabricated_runs


def drawn(events: list[Event]) -> ElementTree.Element:
    return ElementTree.fromstring(render_curves(told(events)))


def told(events: list[Event]) -> History:
    history = History()
    history.add_events(events)
    return history


def points(shown: ElementTree.Element, panel: str, css: str) -> list[tuple[float, float]]:
    """Points of one curve as `(step, value)`, as they stand in the drawing."""
    lines = shown.findall(f".//figure[@data-name='{panel}']//polyline[@class='{css}']")
    pairs = [pair.split(",") for line in lines for pair in line.attrib["points"].split()]
    return [(float(x), float(y)) for x, y in pairs]


def test_validation_is_drawn_at_the_steps_at_which_it_was_measured_with_the_values_measured() -> None:
    shown = drawn(fabricated_runs.story())
    expected = [(0, 0.125), (10, 0.75), (20, 0.9375), (30, 0.875), (40, 0.875)]
    assert points(shown, "accuracy", "dots val") == expected
    assert points(shown, "loss", "dots val")[0] == (0, 2.25)


def test_every_training_step_is_drawn_when_there_are_few() -> None:
    shown = drawn(fabricated_runs.story())
    raw = points(shown, "loss", "raw train")
    assert [x for x, _ in raw] == list(range(1, 41))
    assert raw[3][1] == pytest.approx(0.75, abs=1e-4)
    assert points(shown, "rate", "line rate") == [(one, 0.001) for one in range(1, 41)]


def test_the_smooth_line_is_the_mean_around_each_step() -> None:
    events: list[Event] = [fabricated_runs.started(epochs=1, per_epoch=6)]
    events += [fabricated_runs.step(one, per_epoch=6, loss=float(one % 2)) for one in range(1, 7)]
    smooth = build_curves(told(events)).loss_smooth
    assert smooth.y[2] == pytest.approx((1 + 0 + 1 + 0 + 1) / 5)


def test_the_best_epoch_is_marked_in_all_drawings_and_named() -> None:
    text = render_curves(told(fabricated_runs.story()))
    assert "best: epoch 2, 93.8 %" in text
    assert text.count('<line class="best" x1="50%" x2="50%"') == 3
    assert text.count('<path class="best-dot" d="M20 0.9375h0">') == 1


def test_a_line_shows_where_each_later_phase_starts() -> None:
    events = fabricated_runs.story()
    assert 'class="phase' not in render_curves(told(events))
    notes = [LogMessage(code="fine_tuning", values={"epoch": 3, "step": step, "learning": 5}) for step in (12, 20)]
    text = render_curves(told([*events[:-1], *notes, events[-1]]))
    assert text.count('<line class="phase fine_tuning" x1="50%" x2="50%"') == 3, "a resumed run tells it again"
    assert 'class="phase all_layers"' not in text
    assert messages.get_text("curve.fine_tuning") in text
    last_note = LogMessage(code="all_layers", values={"epoch": 4, "step": 30, "learning": 9})
    text = render_curves(told([*events[:-1], *notes, last_note, events[-1]]))
    assert re.findall(r'<line class="phase (\w+)"', text) == ["fine_tuning", "all_layers"] * 3
    assert messages.get_text("curve.all_layers") in text


def test_the_axis_spans_the_whole_run_while_it_goes_on_and_what_was_done_when_it_is_over() -> None:
    half = fabricated_runs.story(epochs=2)
    assert build_curves(told(half)).step_count == 40
    assert build_curves(told([*half, fabricated_runs.ended("stopped")])).step_count == 20


def test_a_resumed_run_shows_each_step_once_and_what_was_measured_again_as_measured_last() -> None:
    again = [fabricated_runs.started(step=20), *(fabricated_runs.step(one, loss=0.25) for one in range(21, 31))]
    raw = points(drawn([*fabricated_runs.story(epochs=3), *again]), "loss", "raw train")
    assert [x for x, _ in raw] == list(range(1, 31))
    assert {y for x, y in raw if x > 20} == {0.25}


def test_unknown_values_are_gaps_and_never_text() -> None:
    events = fabricated_runs.story(epochs=1)
    events[6] = fabricated_runs.step(5, loss=float("nan"), accuracy=float("inf"))
    events.append(fabricated_runs.epoch(2, None, best=False))
    text = render_curves(told(events))
    assert not re.search(r"\b(nan|NaN|inf|None)\b", text)
    shown = ElementTree.fromstring(text)
    assert len(shown.findall(".//figure[@data-name='loss']//polyline[@class='raw train']")) == 2
    assert 5 not in [x for x, _ in points(shown, "loss", "raw train")]


@pytest.mark.parametrize(
    "events", [[], [fabricated_runs.started()], fabricated_runs.story(epochs=0)], ids=["no", "one", "zero"]
)
def test_a_run_that_has_hardly_begun_can_be_drawn(events: list[Event]) -> None:
    assert len(drawn(events).findall("figure")) == 3


def test_thinning_keeps_every_peak_and_both_ends() -> None:
    random = np.random.default_rng(0)
    y = random.normal(size=100_000)
    y[51_234], y[77_777] = 40.0, -40.0
    thinned = thin_curve(CurvePoints(np.arange(100_000.0), y), 300)
    assert len(thinned.x) <= 302
    assert {thinned.x[0], thinned.x[-1]} == {0, 99_999}
    assert (51_234, 40.0) in zip(thinned.x, thinned.y, strict=True)
    assert (77_777, -40.0) in zip(thinned.x, thinned.y, strict=True)
    assert (np.diff(thinned.x) > 0).all()


def test_few_points_are_left_alone() -> None:
    series = CurvePoints(np.arange(300.0), np.ones(300))
    assert thin_curve(series, 300) is series


def test_a_long_run_is_no_larger_on_the_page_than_a_short_one() -> None:
    sizes = {}
    for count in (2_000, 100_000):
        per_epoch = count // 20
        events: list[Event] = [fabricated_runs.started(epochs=20, per_epoch=per_epoch)]
        events += [fabricated_runs.step(one, per_epoch) for one in range(1, count + 1)]
        shown = drawn(events)
        assert len(points(shown, "loss", "raw train")) <= MAX_CURVE_POINTS + 2
        sizes[count] = len(render_curves(told(events)))
    assert sizes[100_000] < min(30_000, 1.25 * sizes[2_000])


def test_one_wild_step_does_not_press_the_curves_flat() -> None:
    events = fabricated_runs.story()
    events[2] = fabricated_runs.step(1, loss=1e6)
    box = drawn(events).find(".//figure[@data-name='loss']/svg/svg")
    assert box is not None
    assert float(box.attrib["viewBox"].split()[3]) < 1e5


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]), (0, 30, [0, 10, 20, 30]), (0.1, 0.32, [0.1, 0.15, 0.2, 0.25, 0.3])],
)
def test_ticks_are_round_numbers_inside_the_axis(low: float, high: float, expected: list[float]) -> None:
    assert compute_ticks(low, high, 5) == pytest.approx(expected)


def test_who_cannot_see_the_curves_is_told() -> None:
    text = render_curves(told(fabricated_runs.story()))
    assert "Validation accuracy went from 12.5 % to 87.5 % in 5 measurements." in text
