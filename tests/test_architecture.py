"""The laws of the house that a program can check: see ARCHITECTURE.md."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Imports only go down: a package may import from its own level and from those before it in this list.
FLOORS = (
    ("core",),
    ("config",),
    ("runs",),
    ("data",),
    ("models",),
    ("training",),
    ("audit", "inference"),
    ("evaluation",),
    ("reporting",),
    ("cli", "ui", "__main__"),
)
# Nothing in these packages imports torch or gradio, by itself or by what it imports: they start at once.
LIGHT = ("core", "config", "runs", "cli")
MODULES = 15  # of a package, its `__init__` among them
LONGEST = 320  # lines of a module
UNSAFE = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
REGISTRIES = [".".join(parts) for parts in (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"))]

FLOOR = {room: index for index, rooms in enumerate(FLOORS) for room in rooms}
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "ftlab").rglob("*.py"))
}
SOURCES = {name: path.read_text(encoding="utf-8") for name, path in FILES.items()}
TREES = {name: ast.parse(source) for name, source in SOURCES.items()}


def room(module: str) -> str:
    """`ftlab.data.images.decode` -> `data`; `ftlab` itself has none."""
    return module.partition(".")[2].partition(".")[0]


def folder(module: str) -> str:
    """`ftlab.data.images.decode` -> `ftlab.data.images`, which is that of `ftlab.data.images` too."""
    return module if FILES[module].name == "__init__.py" else module.rpartition(".")[0]


def imports(module: str) -> Iterator[str]:
    """Full names of what a module imports, anywhere in it, for type checkers too."""
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield from (f"{base}.{alias.name}" if f"{base}.{alias.name}" in FILES else base for alias in node.names)


def packages(module: str) -> set[str]:
    return {name.split(".")[0] for name in imports(module)}


def own_imports() -> Iterator[tuple[str, str]]:
    """(module, what it imports) within the house. The package itself, that is its version, is everybody's."""
    for module in FILES:
        yield from ((module, name) for name in imports(module) if name in FILES and name not in ("ftlab", module))


def calls() -> Iterator[tuple[str, str, dict[str | None, str]]]:
    """(where, function, keyword arguments) of every call."""
    for module, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                words = {word.arg: ast.unparse(word.value) for word in node.keywords}
                yield f"{module}:{node.lineno}", ast.unparse(node.func), words


def test_every_room_has_a_floor() -> None:
    assert {room(module) for module in FILES} - {""} <= set(FLOOR)


def test_imports_only_go_down() -> None:
    assert not [f"{a} imports {b}" for a, b in own_imports() if FLOOR.get(room(b), 0) > FLOOR.get(room(a), -1)]
    assert not [module for module in FILES if any(name.startswith(".") for name in imports(module))], "relative"


@pytest.mark.parametrize("unit", ["modules", "packages"])
def test_imports_go_in_no_circle(unit: str) -> None:
    graph: dict[str, set[str]] = defaultdict(set)
    for a, b in own_imports():
        a, b = (a, b) if unit == "modules" else (folder(a), folder(b))
        graph[a] |= {b} - {a}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as circle:
        pytest.fail(" <- ".join(circle.args[1]))


def test_packages_are_small() -> None:
    count = Counter(folder(module) for module in FILES)
    assert not {name: modules for name, modules in count.items() if modules > MODULES}


def test_only_the_page_knows_gradio() -> None:
    assert not [name for name in FILES if room(name) != "ui" and packages(name) & {"gradio", "gradio_client"}]


def test_what_is_imported_is_in_the_requirements() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.partition("==")[0].lower() for line in lines if "==" in line}
    homes = packages_distributions()
    # Torch brings Triton where there is one: the kernel is loaded there only, and nobody else knows it.
    foreign = {name for module in FILES if module != "ftlab.data.gpu.triton_resize" for name in packages(module)} - {
        "ftlab",
        "__future__",
        *sys.stdlib_module_names,
    }
    assert not [name for name in foreign if not pinned & {home.lower() for home in homes.get(name, [])}]


def test_light_rooms_start_without_torch_and_gradio() -> None:
    light = ", ".join(name for name in FILES if room(name) in LIGHT)
    code = f"import sys, {light}; print({{'torch', 'torchvision', 'timm', 'gradio', 'matplotlib'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_modules_are_short_and_say_what_they_are_for() -> None:
    assert not [name for name, source in SOURCES.items() if len(source.splitlines()) > LONGEST]
    assert not [name for name, tree in TREES.items() if not ast.get_docstring(tree)]


def test_no_error_is_swallowed() -> None:
    handlers = [(m, n) for m, tree in TREES.items() for n in ast.walk(tree) if isinstance(n, ast.ExceptHandler)]
    assert not [f"{m}:{n.lineno}: bare except" for m, n in handlers if n.type is None]
    assert not [f"{m}:{n.lineno}: except: pass" for m, n in handlers if all(isinstance(x, ast.Pass) for x in n.body)]


def test_reading_a_file_never_runs_what_is_in_it() -> None:
    assert not [name for name in FILES if packages(name) & UNSAFE]
    assert not [where for where, _, words in calls() if words.get("allow_pickle", "False") != "False"]
    loaders = ("torch.load", "load_state_dict_from_url", "get_state_dict")
    loads = [(where, words) for where, call, words in calls() if call.endswith(loaders)]
    assert loads
    assert not [where for where, words in loads if words.get("weights_only") != "True"]
    assert not [where for where, call, words in calls() if call == "get_model" and words.get("weights") != "None"]


def test_no_module_names_a_package_registry() -> None:
    assert not [name for name, source in SOURCES.items() if any(host in source for host in REGISTRIES)]
