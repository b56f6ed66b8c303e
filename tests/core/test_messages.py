"""Every sentence a person reads stands in the words, and every sentence gets the values that it names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest

from ftlab.core import errors, messages

SOURCES = sorted(Path(messages.__file__).parents[2].rglob("*.py"))
ERRORS = {name for name, cls in vars(errors).items() if isinstance(cls, type) and issubclass(cls, errors.FtlabError)}
ENGLISH = messages.load_messages("en")
TEMPLATES = {"curve.at"}
"""Sentences that the page's own script fills in."""


def placeholders(sentence: str) -> set[str]:
    """The names that a sentence wants filled in: `{val:.0%}` -> val."""
    return {re.split(r"[.\[]", name)[0] for _, name, _, _ in Formatter().parse(sentence) if name is not None}


def fields(sentence: str) -> list[tuple[str, str]]:
    """The values that a sentence names, each with its format: `{val:.0%}` -> ("val", ".0%")."""
    return sorted((name, form or "") for _, name, form, _ in Formatter().parse(sentence) if name is not None)


def literal_patterns(path: Path) -> Iterator[str]:
    """Every text in the code of a module, as a pattern."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant | ast.JoinedStr):
            yield from literals(node)


def literals(node: ast.expr | None) -> Iterator[str]:
    """The texts an expression can be, as patterns: a whole literal, either side of a choice, an f-string."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield re.escape(node.value)
    elif isinstance(node, ast.IfExp):
        yield from literals(node.body)
        yield from literals(node.orelse)
    elif isinstance(node, ast.JoinedStr):
        yield "".join(re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".+" for part in node.values)


def asked() -> Iterator[tuple[str, str, set[str] | None]]:
    """Each place of the code that asks for a sentence: where, a pattern of the key, and the values it gives (None:
    not to be told from the code)."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            named = {keyword.arg for keyword in node.keywords}
            given = None if None in named else {name for name in named if name}
            place = f"{path.name}:{node.lineno}"
            called = ast.unparse(node.func).rpartition(".")[2]
            first = node.args[0] if node.args else None
            if ast.unparse(node.func) in ("messages.get_text", "get_text"):
                yield from ((place, key, given) for key in literals(first))
            elif called == "ImageError":
                for table in ("problem", "remedy"):
                    yield from ((place, rf"{table}\.{code}", given) for code in literals(first))
            elif called in ERRORS:
                yield from ((place, rf"error\.{code}", given) for code in literals(first))
            elif called == "DatasetProblem" and len(node.args) > 1:
                for table in ("problem", "remedy"):
                    yield from ((place, rf"{table}\.{code}", None) for code in literals(node.args[1]))
            elif called == "LogMessage":
                codes = [keyword.value for keyword in node.keywords if keyword.arg == "code"]
                yield from ((place, rf"log\.{code}", None) for value in codes for code in literals(value))


def test_every_sentence_that_the_code_asks_for_exists() -> None:
    missing = [f"{place} {key}" for place, key, _ in asked() if not any(re.fullmatch(key, one) for one in ENGLISH)]
    assert not missing


def test_every_sentence_gets_the_values_it_names() -> None:
    short = []
    for place, pattern, given in asked():
        key = pattern.replace("\\", "")
        if given is None or key in TEMPLATES or key not in ENGLISH:
            continue
        if lacking := placeholders(ENGLISH[key]) - given:
            short.append(f"{place} {key} lacks {sorted(lacking)}")
    assert not short


def test_the_search_finds_what_it_looks_for() -> None:
    keys = {key.replace("\\", "") for _, key, _ in asked()}
    assert {"error.run.busy", "error.run.several", "error.run.missing", "problem.too_long", "remedy.few"} <= keys


def test_a_problem_always_has_a_remedy() -> None:
    problems = {key.partition(".")[2] for key in ENGLISH if key.startswith("problem.")}
    remedies = {key.partition(".")[2] for key in ENGLISH if key.startswith("remedy.")}
    assert problems == remedies


@pytest.mark.parametrize("code", messages.list_languages())
def test_every_language_has_the_keys_of_english(code: str) -> None:
    assert set(messages.load_messages(code)) == set(ENGLISH)


@pytest.mark.parametrize("code", messages.list_languages())
def test_every_language_names_the_values_of_english_in_their_formats(code: str) -> None:
    table = messages.load_messages(code)
    assert not [key for key in ENGLISH if fields(table[key]) != fields(ENGLISH[key])]
    assert not [key for key, sentence in table.items() if not sentence or sentence != sentence.strip()]


def test_no_sentence_is_left_that_the_code_does_not_ask_for() -> None:
    patterns = {pattern for path in SOURCES for pattern in literal_patterns(path)}
    names = {re.sub(r"\\(.)", r"\1", pattern) for pattern in patterns if ".+" not in pattern}
    composed = re.compile("|".join(pattern for pattern in patterns if re.search(r"[a-z_]\\?\.[a-z_]*\.\+", pattern)))
    tails = {key: {key[match.end() :] for match in re.finditer(r"\.", key)} | {key} for key in ENGLISH}
    unused = [key for key in ENGLISH if not tails[key] & names and not any(map(composed.fullmatch, tails[key]))]
    assert not unused


def test_values_are_filled_in_as_they_are() -> None:
    assert messages.get_text("error.data.not_a_folder", folder="{odd} <b>%s</b>").startswith(
        "{odd} <b>%s</b> is a file."
    )
    assert messages.get_text("error.config.shares", val=0.25, test=0.8).startswith("Validation (25%) and test (80%)")


def test_a_name_stays_in_its_line_and_in_its_place() -> None:
    assert (
        messages.escape_control_chars("a\nb\tc\x1b[0m\u202ed\u2069\u2028\x85")
        == r"a\x0ab\x09c\x1b[0m\u202ed\u2069\u2028\x85"
    )
    assert messages.escape_control_chars("Käfer שלום نمل 한국 💙 -") == "Käfer שלום نمل 한국 💙 -"
    assert messages.escape_control_chars(Path("a") / "b") == str(Path("a") / "b")


def test_a_key_or_a_value_that_is_missing_is_a_bug() -> None:
    with pytest.raises(KeyError):
        messages.get_text("error.data.of_another_world")
    with pytest.raises(KeyError):
        messages.get_text("error.data.missing", file="x")


def test_another_language_falls_back_to_english_sentence_by_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "en.toml").write_text('[a]\none = "One {n}"\ntwo = "Two"\n', encoding="utf-8")
    (tmp_path / "zh.toml").write_text('[a]\none = "一 {n}"\n', encoding="utf-8")
    monkeypatch.setattr(messages, "__file__", str(tmp_path / "__init__.py"))
    messages.load_messages.cache_clear()
    try:
        assert messages.list_languages() == ["en", "zh"]
        assert messages.get_text("a.one", n=1) == "One 1"
        monkeypatch.setenv("FTLAB_LANGUAGE", "zh")
        assert (messages.get_text("a.one", n=1), messages.get_text("a.two")) == ("一 1", "Two")
        monkeypatch.setenv("FTLAB_LANGUAGE", "../zh")
        assert messages.current_language() == "en"
    finally:
        messages.load_messages.cache_clear()
