"""One picture through two of the runs that are ticked in the Compare tab: layout, wiring, and the handlers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from ftlab.core import messages
from ftlab.core.errors import FtlabError, PictureError
from ftlab.core.html import Markup, join, tag
from ftlab.runs import comparison
from ftlab.ui.common import image_field
from ftlab.ui.common.access import Profile
from ftlab.ui.common.html import empty, trouble
from ftlab.ui.common.latest_only import Latest
from ftlab.ui.compare import view as compare_view
from ftlab.ui.predict import cam_options, view
from ftlab.ui.predict.actions import Lab

if TYPE_CHECKING:
    from ftlab.inference.compare_models import Seen

OWN = ""
"""In the place of a class: of each model the likeliest."""
_QUICK: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


def build(
    profile: Profile, store: gr.BrowserState, ticked: gr.CheckboxGroup
) -> Callable[[gr.events.Dependency], object]:
    """Lay out the section where the page stands, and wire it.

    Args:
        profile: what this server is for.
        store: what the page keeps.
        ticked: the runs to choose two from.

    Returns:
        What lets the section follow an event that changes the ticks, or what is known of the runs: after its answer,
        because events of the components themselves come in any order, and one of them with the ticks as they were.
    """
    with gr.Column(visible=False, elem_id="compare-pair") as whole:
        gr.HTML(
            join([tag("h4", messages.text("pair.title")), tag("p", messages.text("pair.hint"), class_="ftlab-about")]),
            elem_id="compare-pair-hint",
            apply_default_css=False,
        )
        waits = gr.HTML(visible=False, elem_id="compare-pair-waits", apply_default_css=False)
        with gr.Column(visible=False, elem_classes="ftlab-tight") as asking:
            with gr.Row(visible=False) as which:
                models = [
                    gr.Dropdown(
                        [],
                        label=messages.text(f"pair.{one}"),
                        info=messages.text(f"pair.{one}_hint"),
                        min_width=260,
                        elem_id=f"compare-pair-{one}",
                    )
                    for one in ("first", "second")
                ]
            with gr.Row(elem_classes="ftlab-split"):
                with gr.Column(scale=5, min_width=320):
                    picture = image_field.field("compare-pair-image")
                    examples = gr.HTML(
                        elem_id="compare-pair-examples", js_on_load=image_field.CHOICE, apply_default_css=False
                    )
                with gr.Column(scale=7, min_width=320):
                    said = gr.HTML(
                        empty("pair.nothing", "pair.nothing_step"), elem_id="compare-pair-said", apply_default_css=False
                    )
                    with gr.Column(visible=False, elem_classes="ftlab-tight") as choosing:
                        of_class = gr.Dropdown(
                            [(messages.text("pair.own"), OWN)],
                            value=OWN,
                            label=messages.text("pair.class"),
                            info=messages.text("pair.class_hint"),
                            min_width=260,
                            elem_id="compare-pair-class",
                        )
                        method = cam_options.methods("compare-pair-method")
                        image_field.opacity("compare-pair-opacity", "compare-pair")
            with gr.Row(equal_height=True, elem_classes="ftlab-pair"):
                sides = [
                    gr.HTML(js_on_load=image_field.CHOICE + image_field.SAVE, elem_id=name, apply_default_css=False)
                    for name in ("compare-pair-left", "compare-pair-right")
                ]
    noted = gr.JSON({}, visible=False, elem_id="compare-pair-noted")
    for one in (*models, of_class):  # Gradio would refuse a choice of the runs before; the handlers check it
        one.preprocess = lambda payload: payload  # type: ignore[method-assign]

    panel = Pair(profile)
    given = [store, ticked, *models, picture, method]
    seen = [said, *sides, choosing, of_class]
    working: dict[str, Any] = {
        "show_progress_on": said,
        "concurrency_limit": 2,
        "concurrency_id": "pair",
        "trigger_mode": "always_last",
        "api_visibility": "private",
    }
    chosen = [one.change for one in models]
    gr.on(chosen, panel.examples, [store, models[0]], examples, trigger_mode="always_last", **_QUICK)
    gr.on([picture.change, *chosen], panel.look, [*given, of_class], seen, **working)
    gr.on([of_class.input, method.input], panel.look, [*given, of_class], seen, **working)
    for number, side in enumerate(sides):
        side.select(panel.press(number), given, seen, **working)
    examples.select(panel.take_example, [store, models[0]], picture, **_QUICK)
    offered = [whole, waits, asking, which, *models, noted]
    return lambda event: event.then(panel.offered, [store, ticked, *models, noted], offered, **_QUICK)


class Pair(Lab):
    """The handlers. One a server: it holds the profile, and of each page only what it asked last."""

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile)
        self._latest = Latest()

    # --- which two

    def offered(self, store: object, ticked: object, first: object, second: object, noted: object) -> list[Any]:
        """The ticked runs that can be asked, where there are more than two as a choice: for the section, what is said
        of it, its contents, the row of the choosers, both, and a note of what was offered. Never raises."""
        wanted = self.desk.ticked(store, ticked)
        there = self._there(wanted) if 2 <= len(wanted) <= comparison.MOST else []
        told = {"ticked": wanted, "there": [list(one) for one in there]}
        if told == noted:
            return [gr.skip()] * 7
        if len(there) < 2:
            waits = messages.text("pair.waits_one" if there else "pair.waits_none")
            visible = 2 <= len(wanted) <= comparison.MOST
            said = gr.HTML(tag("p", waits, class_="ftlab-about"), visible=visible)
            return [gr.Column(visible=visible), said, gr.Column(visible=False), *[gr.skip()] * 3, told]
        names = [name for _, name in there]
        one = first if first in names else next(name for name in names if name != second)
        other = second if second in names and second != one else next(name for name in names if name != one)
        return [
            gr.Column(visible=True),
            gr.HTML("", visible=False),
            gr.Column(visible=True),
            gr.Row(visible=len(names) > 2),
            gr.Dropdown(choices=there, value=str(one)),
            gr.Dropdown(choices=there, value=str(other)),
            told,
        ]

    def _there(self, wanted: list[str]) -> list[tuple[str, str]]:
        """(as the legend has it, name) of those that have weights; what else is wrong with them is told when asked."""
        there = [(place, name) for place, name in enumerate(wanted) if self._run(name).best.exists()]
        return [(self._named(place, name), name) for place, name in there]

    def _named(self, place: int, name: str) -> str:
        try:
            config = self._run(name).config()
        except FtlabError:
            return name
        return compare_view.named(place, comparison.titled(config.backbone), config.mode)

    # --- a picture

    def look(
        self,
        store: object,
        ticked: object,
        first: object,
        second: object,
        picture: str | None,
        method: object,
        name: object,
        request: gr.Request | None = None,
    ) -> list[Any]:
        """What both models say: whether they agree, each one's classes and heat, and the classes to choose from; unless
        the page asked for something else meanwhile."""
        question = (first, second, picture, method, name)
        return self._latest.answer(request, question, lambda: self._both(store, ticked, *question))

    def press(self, side: int) -> Callable[..., list[Any]]:
        """The same of the class whose bar was pressed in the first (0) or second (1) of the two."""

        def pressed(
            store: object,
            ticked: object,
            first: object,
            second: object,
            picture: str | None,
            method: object,
            event: gr.EventData,
            request: gr.Request | None = None,
        ) -> list[Any]:
            name = self._pressed(store, (first, second)[side], event)
            return self.look(store, ticked, first, second, picture, method, name, request)

        return pressed

    def _pressed(self, store: object, model: object, event: gr.EventData) -> str:
        index = event._data.get("index")
        try:
            classes = self._predictor(store, model).classes
        except FtlabError:
            return OWN
        return classes[index] if isinstance(index, int) and 0 <= index < len(classes) else OWN

    def _both(
        self,
        store: object,
        ticked: object,
        first: object,
        second: object,
        picture: str | None,
        method: object,
        name: object,
    ) -> list[Any]:
        if not picture:
            return _nothing(empty("pair.nothing", "pair.nothing_step"))
        if first == second:
            return _nothing(trouble(messages.text("pair.same")))
        from ftlab.inference import compare_models

        found: list[Seen | Markup] = []
        for model in (first, second):
            try:
                how = cam_options.how(method, "", [])
                found.append(compare_models.look(picture, self._predictor(store, model), str(name or OWN), how))
            except PictureError as error:
                return _nothing(trouble(tag("b", Path(picture).name), ": ", view.wrong(error)))
            except FtlabError as error:  # the other one's answer is worth seeing
                found.append(trouble(str(error)))
        wanted = self.desk.ticked(store, ticked)
        places = [wanted.index(str(model)) if model in wanted else place for place, model in enumerate((first, second))]
        sides = [
            _side(place, self._named(place, str(model)), one, Path(picture).stem)
            for place, model, one in zip(places, (first, second), found, strict=True)
        ]
        one, other = found
        if isinstance(one, Markup) or isinstance(other, Markup):
            return ["", *sides, gr.skip(), gr.skip()]
        numbers = [messages.text("compare.number", number=place + 1) for place in places]
        called = numbers[0], numbers[1]
        choices = [(messages.text("pair.own"), OWN), *compare_models.choices(one.model, other.model, called)]
        there = name if any(name == known for _, known in choices) else OWN
        agree = one.answer is not None and one.answer == other.answer
        return [
            tag("p", compare_models.sentence(one, other, called), class_="ftlab-agree" if agree else "ftlab-agree not"),
            *sides,
            gr.Column(visible=True),
            gr.Dropdown(choices=choices, value=str(there)),
        ]


def _side(place: int, title: str, seen: Seen | Markup, stem: str) -> Markup:
    """What one says, under the number and the colour that its run has above."""
    head = tag("h4", tag("i"), title)
    if isinstance(seen, Markup):
        return tag("div", head, seen, class_=f"side run{place}")
    scores = view.scores(seen.scores, seen.found.index, seen.model.title, seen.say, seen.model.decision)
    overlay = view.overlay(seen.found, seen.say(seen.name), f"{stem}-{place + 1}")
    return tag("div", head, scores, overlay, class_=f"side run{place}")


def _nothing(said: Markup) -> list[Any]:
    return [said, "", "", gr.Column(visible=False), gr.skip()]
