"""Figures about the names, the size and the documentation of the code: `make style`, or `python tools/style.py FOLDER`.

Prints one row a figure, so that a change can be judged before and after. Nothing here fails: the limits that must hold
are in `tests/test_architecture.py` and in the linter's configuration.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FUNCTION_LINES_LIMIT = 60
MODULE_LINES_LIMIT = 300
COMPLEXITY_LIMIT = 15

# Names that say nothing of what they hold: pronouns, participles and adverbs.
PRONOUN_LIKE = {
    *("one", "ones", "found", "told", "said", "mine", "theirs", "there", "kept", "made", "asked", "wanted", "seen"),
    *(
        "given",
        "taken",
        "other",
        "others",
        "whose",
        "these",
        "those",
        "beside",
        "again",
        "early",
        "late",
        "all",
        "both",
    ),
    *("each", "what", "it", "whole", "rest", "left"),
}
CLAUSE_OPENER = re.compile(r"(What|Whether|Where|Whose|Who|Of|The same|Why|How|That|Those)\b")
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


def iter_functions(tree: ast.Module) -> Iterator[FunctionNode]:
    """Yield every function and method of a module, nested ones too, special methods (`__init__`) aside."""
    for node in ast.walk(tree):
        if isinstance(node, FunctionNode) and not (node.name.startswith("__") and node.name.endswith("__")):
            yield node


def iter_public_functions(tree: ast.Module) -> Iterator[FunctionNode]:
    """Yield the public functions of a module and the public methods of its public classes."""
    for node in tree.body:
        if isinstance(node, FunctionNode) and not node.name.startswith("_"):
            yield node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from (
                method for method in node.body if isinstance(method, FunctionNode) and not method.name.startswith("_")
            )


def list_bound_names(tree: ast.Module) -> list[str]:
    """Return the names that a module binds as variables and parameters, one for each place."""
    names = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    return names + [
        node.arg for node in ast.walk(tree) if isinstance(node, ast.arg) and node.arg not in ("self", "cls")
    ]


def compute_complexity(function: FunctionNode) -> int:
    """Return the cyclomatic complexity of a function (McCabe, 1976), without that of functions nested in it."""
    complexity, stack = 1, list(ast.iter_child_nodes(function))
    branches = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.IfExp, ast.comprehension)
    while stack:
        node = stack.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            continue
        complexity += isinstance(node, branches)
        complexity += len(node.values) - 1 if isinstance(node, ast.BoolOp) else 0
        complexity += len(node.cases) - 1 if isinstance(node, ast.Match) else 0
        stack += ast.iter_child_nodes(node)
    return complexity


def needs_sections(function: FunctionNode) -> bool:
    """Return whether a docstring should have sections: two or more arguments, or a value other than None."""
    arguments = function.args
    names = [
        a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs) if a.arg not in ("self", "cls")
    ]
    return len(names) >= 2


def count_comments(source: str) -> tuple[int, int]:
    """Return the number of comments and of lines with code, docstrings and other bare strings aside."""
    comments, code_lines = 0, set[int]()
    skipped = (tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING, tokenize.ENDMARKER)
    statement_starts = True
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            comments += 1
        elif token.type in skipped:
            statement_starts = statement_starts or token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
            continue
        elif not (token.type == tokenize.STRING and statement_starts):
            code_lines.update(range(token.start[0], token.end[0] + 1))
        if token.type != tokenize.COMMENT:
            statement_starts = False
    return comments, len(code_lines)


def measure_style(folder: Path) -> list[tuple[str, str]]:
    """Return the figures of all modules below a folder.

    Args:
        folder: of a package, such as `ftlab`.

    Returns:
        Rows of (what, figure), for printing.
    """
    paths = sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)
    if not paths:
        sys.exit(f"There are no modules below {folder}.")
    sources = {path: path.read_text(encoding="utf-8") for path in paths}
    trees = {path: ast.parse(source) for path, source in sources.items()}
    functions = [function for tree in trees.values() for function in iter_functions(tree)]
    public = [function for tree in trees.values() for function in iter_public_functions(tree)]
    classes = Counter(node.name for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    modules = Counter(node.name for tree in trees.values() for node in tree.body if isinstance(node, FunctionNode))
    names = [name for tree in trees.values() for name in list_bound_names(tree)]
    documented = [ast.get_docstring(function) or "" for function in functions]
    documented = [text for text in documented if text]
    with_arguments = [function for function in public if needs_sections(function)]
    with_value = [f for f in public if f.returns is not None and ast.unparse(f.returns) != "None"]
    comments, code_lines = map(sum, zip(*map(count_comments, sources.values()), strict=True))
    lengths = {function: (function.end_lineno or 0) - function.lineno + 1 for function in functions}
    complexities = [compute_complexity(function) for function in functions]
    packages = Counter(path.parent for path in paths)
    one_word = sum("_" not in function.name.strip("_") for function in functions)
    pronouns = sum(name in PRONOUN_LIKE for name in names)

    def share(part: int, whole: int) -> str:
        return f"{part} of {whole} ({part / max(1, whole):.0%})"

    def has_section(function: FunctionNode, *titles: str) -> bool:
        text = ast.get_docstring(function) or ""
        opening = text.startswith(("Return", "Yield")) and "Returns:" in titles
        return opening or any(f"{title}\n" in text + "\n" for title in titles)

    return [
        ("modules", f"{len(paths)}, {sum(len(s.splitlines()) for s in sources.values())} lines"),
        ("packages at the top", str(sum((path / "__init__.py").is_file() for path in folder.iterdir()))),
        ("modules of the largest package", str(max(packages.values()))),
        (
            f"modules above {MODULE_LINES_LIMIT} lines",
            str(sum(len(s.splitlines()) > MODULE_LINES_LIMIT for s in sources.values())),
        ),
        ("one-word function names", share(one_word, len(functions))),
        ("class names that exist twice or more", str(sum(count > 1 for count in classes.values()))),
        ("names of module-level functions that exist twice or more", str(sum(count > 1 for count in modules.values()))),
        ("pronoun-like names per 1,000 bound names", f"{1000 * pronouns / max(1, len(names)):.1f}"),
        (f"functions above {FUNCTION_LINES_LIMIT} lines", str(sum(n > FUNCTION_LINES_LIMIT for n in lengths.values()))),
        ("longest function, in lines", str(max(lengths.values()))),
        (f"functions of complexity above {COMPLEXITY_LIMIT}", str(sum(n > COMPLEXITY_LIMIT for n in complexities))),
        ("largest complexity", str(max(complexities))),
        (
            "docstrings that open with a relative clause",
            share(sum(bool(CLAUSE_OPENER.match(t)) for t in documented), len(documented)),
        ),
        (
            "public functions of two arguments or more with Args",
            share(sum(has_section(f, "Args:") for f in with_arguments), len(with_arguments)),
        ),
        (
            "public functions with a value that say it (Returns, Yields)",
            share(sum(has_section(f, "Returns:", "Yields:") for f in with_value), len(with_value)),
        ),
        ("comments per line of code", f"{comments / max(1, code_lines):.3f}"),
    ]


def main(arguments: list[str]) -> None:
    """Print the figures of the folder that the command line names, by default those of `ftlab/`."""
    rows = measure_style(Path(arguments[0]) if arguments else ROOT / "ftlab")
    width = max(len(what) for what, _ in rows)
    for what, figure in rows:
        print(f"{what:<{width}}  {figure}")


if __name__ == "__main__":
    main(sys.argv[1:])
