"""The pieces: scores, classes, confusions, reliability. HTML in which all text is escaped."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ftlab.core import messages
from ftlab.core.html import Markup, isolated, join, tag
from ftlab.core.messages import percent
from ftlab.evaluation import calibration, metrics
from ftlab.evaluation.calibration import Reliability
from ftlab.evaluation.evaluate import Inspection
from ftlab.evaluation.metrics import Counts, Share

MATRIX = 100
"""Classes that a matrix has room for; of more, those with the most mistakes are shown."""
_NUMBERS = 25
"""Classes up to which the cells are large enough for their numbers."""
_LISTED = 20
"""Pictures that could not be read, by name; the rest is counted."""

Say = Callable[[str], str]
"""What a person reads for the name of a class."""


def scores(found: Inspection) -> Markup:
    """The figures as cards, and what is to be known of them."""
    outcome, figures = found.outcome, found.figures
    cards = [_share("top1", figures.top1)]
    if len(outcome.classes) > 5:
        cards.append(_share("top5", figures.top5))
    cards.append(_card("balanced", percent(figures.balanced), messages.text("inspect.card.balanced_note")))
    n = figures.top1.n
    small = n < metrics.SMALL
    note = (
        messages.text("inspect.card.points", points=f"{100 / n:.2g}") if small else messages.text("inspect.card.seen")
    )
    cards.append(_card("pictures", f"{n:,}", note))
    before, after = (calibration.reliability(outcome, scale).error for scale in (1.0, found.temperature))
    key = "inspect.card.error_after" if found.temperature != 1 else "inspect.card.error_note"
    cards.append(_card("error", percent(before), messages.text(key, after=percent(after))))
    if found.decision and found.decision.threshold:
        below = messages.text("inspect.card.none_note", threshold=percent(found.decision.threshold))
        cards.append(_card("none", percent(found.refused / n), below))
    return tag("div", tag("dl", *cards, class_="ft-cards"), _notes(found), class_="ft-scores")


def _share(key: str, share: Share) -> Markup:
    low, high = share.interval
    return _card(
        key, percent(share.value), messages.text("inspect.card.interval", low=percent(low), high=percent(high))
    )


def _card(key: str, value: str, note: str) -> Markup:
    name = tag("dt", messages.text(f"inspect.card.{key}"))
    return tag("div", name, tag("dd", value), tag("dd", note, class_="note"))


def _notes(found: Inspection) -> Markup:
    outcome, decided = found.outcome, found.decision
    notes: list[object] = []
    if outcome.skipped:
        listed = (
            tag("li", tag("code", isolated(one.path, path=True)), " ", one.problem) for one in outcome.skipped[:_LISTED]
        )
        said = messages.text("inspect.skipped", count=f"{len(outcome.skipped):,}")
        notes.append(tag("details", tag("summary", said), tag("ul", *listed)))
    if outcome.unknown:
        names = ", ".join(f"{messages.one_line(name)} ({count:,})" for name, count in outcome.unknown)
        notes.append(tag("p", messages.text("inspect.unknown", names=names)))
    if decided is None:
        notes.append(tag("p", messages.text("inspect.undecided")))
    elif not decided.threshold:
        few = messages.text("inspect.no_threshold", right=decided.right, few=calibration.FEW)
        notes.append(tag("p", few))
    return tag("div", *notes, class_="ft-notes") if notes else Markup("")


def classes(found: Inspection, say: Say, *, sortable: bool = False) -> Markup:
    """The classes one by one, the least well known first.

    Args:
        sortable: a column's head is a button, for a script that sorts by `data-value`.
    """
    known = metrics.classes(metrics.confusion(found.outcome))
    rows = sorted(zip(found.outcome.classes, known, strict=True), key=lambda one: (one[1].f1 is None, one[1].f1 or 0))
    heads = ("class", "count", "precision", "recall", "f1")
    said = (messages.text(f"inspect.column.{key}") for key in heads)
    head = (tag("th", tag("button", one, type="button") if sortable else one, scope="col") for one in said)
    body = (
        tag(
            "tr",
            tag("th", isolated(say(name)), scope="row", title=messages.one_line(name)),
            tag("td", f"{one.count:,}", data_value=one.count),
            *map(_bar, (one.precision, one.recall, one.f1)),
        )
        for name, one in rows
    )
    return tag("table", tag("thead", tag("tr", *head)), tag("tbody", *body), class_="ft-classes")


def _bar(share: float | None) -> Markup:
    if share is None:
        return tag("td", "–", data_value=-1)
    bar = tag("i", style=f"width:{100 * share:.1f}%", aria_hidden="true")
    return tag("td", bar, tag("span", percent(share)), data_value=f"{share:.6f}", class_="bar")


def matrix(found: Inspection, say: Say, *, pressable: bool = False) -> Markup:
    """The confusion matrix: a row a true class, a column an answer; colour by the share of the row.

    Args:
        pressable: each count is a button with `data-true` and `data-predicted`, indices of classes.
    """
    known = metrics.confusion(found.outcome)
    names = [say(name) for name in found.outcome.classes]
    shown = metrics.confused(known, MATRIX)
    top = (
        tag("th", tag("span", isolated(names[one])), scope="col", title=messages.one_line(names[one])) for one in shown
    )
    corner = tag("td", messages.text("inspect.matrix.corner"), class_="corner")
    rows = (
        tag(
            "tr",
            tag("th", isolated(names[row]), scope="row", title=messages.one_line(names[row])),
            *(_cell(known, row, column, names, len(shown), pressable) for column in shown),
        )
        for row in shown
    )
    size = "large" if len(shown) <= 10 else "middle" if len(shown) <= _NUMBERS else "small"
    table = tag("table", tag("thead", tag("tr", corner, *top)), tag("tbody", *rows), class_=f"ft-matrix {size}")
    part = len(shown) < len(names)
    note = messages.text("inspect.matrix.part", shown=len(shown), count=f"{len(names):,}") if part else ""
    return join([tag("div", table, class_="ft-scroll", tabindex="0"), tag("p", note, class_="sub") if part else ""])


def _cell(known: Counts, row: int, column: int, names: Sequence[str], shown: int, pressable: bool) -> Markup:
    count = int(known[row, column])
    if not count:
        return Markup("<td></td>")
    share = count / int(known[row].sum())
    key = "inspect.matrix.right" if row == column else "inspect.matrix.wrong"
    said = messages.text(
        key, count=f"{count:,}", true=messages.one_line(names[row]), predicted=messages.one_line(names[column])
    )
    number = f"{count:,}" if shown <= _NUMBERS else ""
    inside = (
        tag("button", number, type="button", data_true=row, data_predicted=column, aria_label=said)
        if pressable
        else number
    )
    # Even one mistake among a thousand is to be seen.
    strength = f"--share:{12 + 78 * share:.0f}%"
    return tag(
        "td",
        inside,
        class_=("hit" if row == column else "miss") + (" strong" if share > 0.5 else ""),
        style=strength,
        title=said,
    )


def calibrated(found: Inspection) -> Markup:
    """How far the probabilities can be believed: diagrams before and, where there is one, after the temperature."""
    outcome, decided = found.outcome, found.decision
    parts = [_reliable(calibration.reliability(outcome), messages.text("inspect.reliability.before"))]
    if found.temperature != 1:
        title = messages.text("inspect.reliability.after", temperature=f"{found.temperature:.2f}")
        parts.append(_reliable(calibration.reliability(outcome, found.temperature), title))
    said = [tag("p", messages.text("inspect.reliability.how"), class_="sub")]
    if found.temperature != 1:
        key = "inspect.reliability.own" if found.own else "inspect.reliability.fitted"
        said.append(tag("p", messages.text(key, temperature=f"{found.temperature:.2f}"), class_="sub"))
    elif decided:
        said.append(tag("p", messages.text("inspect.reliability.none"), class_="sub"))
    if decided and decided.threshold:
        told = {"threshold": percent(decided.threshold), "right": f"{decided.right:,}"}
        said.append(tag("p", messages.text("inspect.reliability.threshold", **told), class_="sub"))
    if decided and outcome.which == "best" and (decided.threshold or found.temperature != 1):
        said.append(tag("p", messages.text("inspect.reliability.used"), class_="sub"))
    return tag("div", tag("div", *parts, class_="ft-pair"), *said, class_="ft-calibration")


_SIDE, _LEFT, _LOW = 220, 34, 30
"""Of the diagram's square, and of the room for its numbers: units of the drawing."""


def _reliable(found: Reliability, title: str) -> Markup:
    """A reliability diagram: accuracy by the probability of the answer; on the diagonal the two are the same."""
    most, step = max(1, int(found.count.max())), _SIDE / calibration.BINS
    drawn: list[object] = []
    for number, (count, sure, right) in enumerate(
        zip(found.count.tolist(), found.confidence.tolist(), found.accuracy.tolist(), strict=True)
    ):
        if not count:
            continue
        told = messages.text(
            "inspect.reliability.bin", count=f"{count:,}", confidence=percent(sure), accuracy=percent(right)
        )
        place = {"x": f"{_LEFT + number * step + 1:.1f}", "width": f"{step - 2:.1f}"}
        bar = {"y": f"{_SIDE * (1 - right):.1f}", "height": f"{_SIDE * right:.1f}"}
        # Few pictures say little: their bar is pale.
        solid = tag(
            "rect", tag("title", told), **place, **bar, class_="got", opacity=f"{0.35 + 0.65 * count / most:.2f}"
        )
        meant = f"{_SIDE * (1 - sure):.1f}"
        middle = f"{_LEFT + sure * _SIDE:.1f}"
        drawn += [solid, tag("circle", cx=middle, cy=meant, r="2.4", class_="meant")]
    ticks = [
        part
        for share in (0, 0.5, 1)
        for part in (
            tag("text", f"{share:.0%}", x=_LEFT - 5, y=f"{_SIDE * (1 - share) + 4:.0f}", text_anchor="end"),
            tag("text", f"{share:.0%}", x=f"{_LEFT + share * _SIDE:.0f}", y=_SIDE + 14, text_anchor="middle"),
        )
    ]
    axis = tag(
        "text", messages.text("inspect.reliability.axis"), x=_LEFT + _SIDE / 2, y=_SIDE + 27, text_anchor="middle"
    )
    frame = tag("rect", x=_LEFT, y=0, width=_SIDE, height=_SIDE, class_="frame")
    diagonal = tag("line", x1=_LEFT, y1=_SIDE, x2=_LEFT + _SIDE, y2=0, class_="even")
    svg = tag(
        "svg",
        frame,
        *drawn,
        diagonal,
        *ticks,
        axis,
        viewBox=f"0 -8 {_LEFT + _SIDE + 16} {_SIDE + _LOW + 10}",
        role="img",
        aria_label=f"{title}. {messages.text('inspect.reliability.axis')}",
    )
    return tag("figure", tag("figcaption", title, tag("b", percent(found.error))), svg, class_="ft-reliability")


def grid(
    found: Inspection, indices: Sequence[int], sources: Sequence[str | None], say: Say, *, pressable: bool = False
) -> Markup:
    """Pictures with their true class and the answer.

    Args:
        indices: of the pictures.
        sources: a `data:` address each; None for one that is gone.
        pressable: each is a button with `data-index`.
    """
    pairs = zip(indices, sources, strict=True)
    return tag("div", *(_picture(found, one, source, say, pressable) for one, source in pairs), class_="ft-grid")


def _picture(found: Inspection, index: int, source: str | None, say: Say, pressable: bool) -> Markup:
    outcome = found.outcome
    true, said = (say(outcome.classes[one[index]]) for one in (outcome.labels, outcome.predicted))
    right = bool(outcome.right[index])
    picture = tag("img", src=source, alt="") if source else tag("span", messages.text("inspect.gone"), class_="gone")
    sure = percent(float(found.sure[index]))
    lines: list[object] = [tag("b", isolated(said)), tag("small", sure)]
    if not right:
        lines.append(tag("small", messages.text("inspect.truly"), " ", isolated(true), class_="true"))
    inside = [picture, tag("span", *lines, class_="said")]
    look = "right" if right else "wrong"
    title = messages.one_line(outcome.paths[index])
    if pressable:
        return tag("button", *inside, type="button", data_index=index, class_=look, title=title)
    return tag("figure", *inside, class_=look, title=title)
