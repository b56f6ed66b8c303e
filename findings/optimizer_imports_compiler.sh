#!/usr/bin/env bash
# One would guess: torch._dynamo, the front end of `torch.compile`, is imported by a program that compiles something.
#
# True: the first optimizer that a program constructs imports it, with sympy: a second of CPU time in a program that trains
# a linear layer eagerly. `Optimizer.add_param_group`, `state_dict`, `load_state_dict` and `step` are wrapped to be left out
# of compiled code, and the wrapper imports the compiler when it is first called. `import torchvision` alone does it too, by
# a decorator of its operator roi_align. `import torch` does not.
#
# Seen with torch 2.15.0, torchvision 0.29.2, Python 3.11.7, two cores:
#   import torch: 0 modules of the compiler and sympy
#   torch.optim.SGD([parameter], lr=0.1): 517 modules, 1.02 s of CPU time; a second one: 0.00 s
#   import torchvision: 517 modules
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.15.0 torchvision==0.29.2
cd "$folder"
cat > measure.py <<'PYTHON'
import platform
import sys
import time

import torch


def count_modules():
    return sum(name.split(".")[0] == "sympy" or name.startswith("torch._dynamo") for name in sys.modules)


def construct():
    start = time.process_time()
    torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    return time.process_time() - start


before = count_modules()
if sys.argv[1] == "torchvision":
    import torchvision

    print(f"torchvision {torchvision.__version__}, import torchvision: {count_modules()} modules")
else:
    seconds = [construct(), construct()]
    print(f"torch {torch.__version__}, Python {platform.python_version()}, import torch: {before} modules")
    print(f"torch.optim.SGD: {count_modules()} modules, {seconds[0]:.2f} s of CPU time; a second one: {seconds[1]:.2f} s")
if before:
    sys.exit("import torch imports the compiler now")
if count_modules() < 100:
    sys.exit("the compiler is no longer imported")
PYTHON
"$folder/venv/bin/python" measure.py optimizer >/dev/null  # compiles the modules
"$folder/venv/bin/python" measure.py optimizer
"$folder/venv/bin/python" measure.py torchvision
