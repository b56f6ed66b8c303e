"""The libraries of architectures, imported without PyTorch's compiler, which stays of use to whoever needs it."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run_code(code: str) -> None:
    """Run code in a process of its own, in which nothing is imported yet."""
    completed = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert completed.returncode == 0, completed.stderr


@pytest.mark.parametrize("source", ["torchvision", "timm"])
def test_a_library_is_imported_without_the_compiler(source: str) -> None:
    run_code(f"""
import sys
from ftlab.models.pretrained import libraries
library = libraries.import_library({source!r})
assert not [name for name in sys.modules if name.startswith(("torch._dynamo", "torch._inductor"))]
assert library.{"get_model" if source == "torchvision" else "create_model"}("resnet18")
""")


def test_the_compiler_works_after_the_libraries() -> None:
    run_code("""
import sys
import torch
from ftlab.models.pretrained import libraries
disable = torch.compiler.disable
libraries.import_library("timm")
assert torch.compiler.disable is disable
ask = sys.modules["torchvision.ops.roi_align"].is_compile_supported
supported = ask("cpu")
import torch._dynamo.utils
assert ask is not torch._dynamo.utils.is_compile_supported
assert supported == torch._dynamo.utils.is_compile_supported("cpu")
double = torch.compile(lambda values: 2 * values, backend="eager")
assert torch.equal(double(torch.ones(2)), torch.full((2,), 2.0))
""")


def test_a_function_exempted_while_the_compiler_is_deferred_is_not_compiled() -> None:
    run_code("""
import torch
from ftlab.models.pretrained import libraries
with libraries.defer_compiler():
    @torch.compiler.disable
    def add_one(values):
        assert not torch.compiler.is_compiling()
        return values + 1
    @torch.compiler.disable(recursive=True)
    def add_two(values):
        assert not torch.compiler.is_compiling()
        return values + 2
assert add_one.__name__ == "add_one" and add_two(1) == 3
targets = []
def collect(graph, _inputs):
    targets.extend(str(node.target) for node in graph.graph.nodes if node.op == "call_function")
    return graph.forward
compute = torch.compile(lambda values: add_two(add_one(2 * values)) * 3, backend=collect)
assert torch.equal(compute(torch.ones(2)), torch.full((2,), 15.0))
assert targets and not [target for target in targets if "add" in target], targets
""")


def test_another_thread_gets_the_compiler_itself_meanwhile() -> None:
    run_code("""
import sys
from ftlab.models.pretrained import libraries
with libraries.defer_compiler():
    import torch._dynamo
    from torch._dynamo.utils import counters
assert sys.modules["torch._dynamo.utils"].counters is counters
assert torch._dynamo.utils.counters is counters
with libraries.defer_compiler():  # nothing to defer any more
    assert sys.modules["torch._dynamo.utils"].counters is counters
""")
