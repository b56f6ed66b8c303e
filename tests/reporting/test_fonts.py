"""Letters in figures: a font that has them, else a name that can be read; never empty boxes."""

from __future__ import annotations

import inspect as python
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager

from ftlab.data.dataset.class_names import DisplayNames
from ftlab.evaluation.evaluate import Evaluation
from ftlab.reporting import evaluation_plots, plots
from ftlab.reporting import fonts as plot_fonts
from ftlab.runs.history import History
from ftlab.runs.jobs.lr_sweep import LrSweep
from tests.support import fabricated_runs, known_evaluations

CLASSES = ("ants", "bees", "蚂蚁 $5", "🐝 bee\nline", "Käfer_שלום")
KNOWN: DisplayNames = {"ants": {"en": "ant", "zh": "蚂蚁"}, "bees": {"zh": "蜜蜂"}, "蚂蚁 $5": {"en": "ant"}}
CHINESE = "蚂蚁蜜蜂中文"


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Each test looks for fonts anew, and leaves none behind."""
    before, family = list(fontManager.ttflist), matplotlib.rcParams["font.family"]
    _forget()
    yield
    fontManager.ttflist, matplotlib.rcParams["font.family"] = before, family
    _forget()


def _forget() -> None:
    plot_fonts.list_font_families.cache_clear()
    plot_fonts.list_drawable_glyphs.cache_clear()


@pytest.fixture
def without() -> None:
    """No font here has Chinese letters."""
    drop_chinese_fonts()


def drop_chinese_fonts() -> None:
    fontManager.ttflist = [font for font in fontManager.ttflist if font.name not in plot_fonts.CJK_FAMILIES]


@pytest.fixture
def having(tmp_path: Path) -> None:
    """A font of one of the families has a box for each of six Chinese letters; no other has any."""
    drop_chinese_fonts()
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for point in ((0, 700), (900, 700), (900, 0)):
        pen.lineTo(point)
    pen.closePath()
    names = [".notdef", *(f"uni{ord(one):04X}" for one in CHINESE)]
    made = FontBuilder(1000, isTTF=True)
    made.setupGlyphOrder(names)
    made.setupCharacterMap({ord(one): f"uni{ord(one):04X}" for one in CHINESE})
    made.setupGlyf(dict.fromkeys(names, pen.glyph()))
    made.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    made.setupHorizontalHeader(ascent=800, descent=-200)
    made.setupNameTable({"familyName": plot_fonts.CJK_FAMILIES[0], "styleName": "Regular"})
    made.setupOS2()
    made.setupPost()
    made.save(tmp_path / "chinese.ttf")
    fontManager.addfont(tmp_path / "chinese.ttf")


def curves(say: Callable[[str], str]) -> Figure:
    history = History()
    history.add_events([*fabricated_runs.story(), fabricated_runs.ended()])
    return plots.plot_training_curves(history, say(CLASSES[0]) + CLASSES[2])


def comparison(say: Callable[[str], str]) -> Figure:
    history = History()
    history.add_events(fabricated_runs.story())
    return plots.plot_run_comparison([history, history], [say(CLASSES[0]), CLASSES[2]])


def rates(_say: Callable[[str], str]) -> Figure:
    many = [10 ** (step / 10 - 5) for step in range(40)]
    return plots.plot_lr_sweep(LrSweep(many, [2.0 - step / 40 for step in range(40)]))


def explanation(say: Callable[[str], str]) -> Figure:
    picture = np.zeros((6, 8, 3), np.uint8)
    return plots.plot_explanation(picture, picture, np.zeros((3, 4), np.float32), [(say(one), 0.2) for one in CLASSES])


def pair(say: Callable[[str], str]) -> Figure:
    picture = np.zeros((6, 8, 3), np.uint8)
    side = (f"{say(CLASSES[0])}\n{say(CLASSES[2])}", picture, [(say(one), 0.2) for one in CLASSES])
    return plots.plot_model_comparison(picture, [side, side], say(CLASSES[3]))


def preview(say: Callable[[str], str]) -> Figure:
    return plots.plot_augmentations(np.zeros((8, 8, 3), np.uint8), [np.zeros((8, 8, 3), np.uint8)] * 9, say(CLASSES[2]))


def found() -> Evaluation:
    answers = [(true, (true + step) % 5, 0.5 + step / 20) for true in range(5) for step in (0, 0, 0, 1, 2)]
    return known_evaluations.inspection(known_evaluations.told(answers, CLASSES), temperature=1.7, threshold=0.4)


FIGURES: dict[str, Callable[[Callable[[str], str]], Figure]] = {
    "plot_training_curves": curves,
    "plot_lr_sweep": rates,
    "plot_explanation": explanation,
    "plot_model_comparison": pair,
    "plot_augmentations": preview,
    "plot_run_comparison": comparison,
    "plot_confusion_matrix": lambda say: evaluation_plots.plot_confusion_matrix(found(), say),
    "plot_class_metrics": lambda say: evaluation_plots.plot_class_metrics(found(), say),
    "plot_reliability": lambda _say: evaluation_plots.plot_reliability(found()),
}


def save(figure: Figure, file: Path) -> None:
    """In few pixels, and not laid out: its glyphs are looked for wherever they stand."""
    figure.set_layout_engine("none")
    figure.savefig(file, dpi=20)


def test_every_figure_is_drawn_below() -> None:
    rooms = (plots, evaluation_plots)
    drawn = {
        name for room in rooms for name, _ in python.getmembers(room, python.isfunction) if name.startswith("plot_")
    }
    assert drawn == set(FIGURES)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("fonts", ["without", "having", "fresh"])
@pytest.mark.parametrize("name", FIGURES)
def test_no_glyph_is_missing_in_any_figure(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    fonts: str,
    language: str,
) -> None:
    request.getfixturevalue(fonts)
    monkeypatch.setenv("FTLAB_LANGUAGE", language)
    with warnings.catch_warnings():
        # matplotlib says "Glyph 34434 … missing from font(s) DejaVu Sans".
        warnings.filterwarnings("error", message="Glyph")
        save(FIGURES[name](plot_fonts.make_class_formatter(KNOWN)), tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 0


@pytest.mark.usefixtures("without")
def test_matplotlib_would_warn_of_a_missing_glyph(tmp_path: Path) -> None:
    figure = plot_fonts.create_figure(2, 2)
    figure.suptitle(CHINESE)
    with pytest.warns(UserWarning, match="missing from font"):
        save(figure, tmp_path / "x.png")


@pytest.mark.usefixtures("having")
def test_a_chinese_name_is_drawn_where_a_font_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTLAB_LANGUAGE", "zh")
    assert plot_fonts.list_font_families() == (plot_fonts.DEFAULT_FAMILY, plot_fonts.CJK_FAMILIES[0])
    assert plot_fonts.format_class_name("ants", KNOWN) == "蚂蚁"
    figure = evaluation_plots.plot_confusion_matrix(found(), plot_fonts.make_class_formatter(KNOWN))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()][:2] == ["蚂蚁", "蜜蜂"]


@pytest.mark.usefixtures("without")
def test_where_no_font_has_it_the_class_goes_by_its_english_or_its_folders_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FTLAB_LANGUAGE", "zh")
    assert [plot_fonts.format_class_name(one, KNOWN) for one in ("ants", "bees")] == ["ant", "bees"]
    figure = evaluation_plots.plot_confusion_matrix(found(), plot_fonts.make_class_formatter(KNOWN))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()][:3] == ["ant", "bees", "ant"]


@pytest.mark.usefixtures("without")
def test_a_name_that_nothing_can_draw_is_written_out() -> None:
    assert plot_fonts.format_line("蚂 $5\n") == r"\u8682 \$5\x0a"


@pytest.mark.parametrize(
    ("fonts", "language", "notes"), [("without", "zh", 1), ("having", "zh", 0), ("without", "en", 0)]
)
def test_a_figure_says_that_the_language_cannot_be_drawn(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, fonts: str, language: str, notes: int
) -> None:
    request.getfixturevalue(fonts)
    monkeypatch.setenv("FTLAB_LANGUAGE", language)
    texts = [text.get_text() for text in plot_fonts.create_figure(4, 3).texts]
    assert texts == ["In English: no font on this machine has the characters of the page's language."] * notes


@pytest.mark.usefixtures("without")
def test_a_sentence_that_cannot_be_drawn_is_english(monkeypatch: pytest.MonkeyPatch) -> None:
    from ftlab.core import messages

    monkeypatch.setenv("FTLAB_LANGUAGE", "zh")
    assert messages.get_text("curve.loss") == "损失"
    assert plot_fonts.format_message("curve.loss") == "Loss"
    assert plot_fonts.format_message("curve.at", epoch=1, step=2) == "Epoch 1 · step 2"
