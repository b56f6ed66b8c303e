#!/usr/bin/env bash
# One would guess: `fused=True` is another implementation of the same optimizer, so layers can be unfrozen in the middle of
# a training (gradual unfreezing) as with plain SGD: `requires_grad_(True)`, and the parameters are in the optimizer already.
#
# True: fused SGD with momentum raises a TypeError at the first step in which some parameters of a group have a momentum
# buffer and others get their first gradient. Plain SGD, and fused Adam and AdamW, take them in.
#
# Seen with torch 2.15.0, on the CPU:
#   TypeError: expected Tensor as element 0 in argument 2, but got NoneType
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.15.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import torch

print("torch", torch.__version__)


def unfreeze(kind: type, **settings: object) -> str:
    below, above = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    below.requires_grad_(False)
    optimizer = kind([*below.parameters(), *above.parameters()], lr=0.1, **settings)
    for epoch in range(2):
        below.requires_grad_(epoch > 0)
        optimizer.zero_grad()
        above(below(torch.ones(1, 2))).sum().backward()
        try:
            optimizer.step()
        except TypeError as error:
            return f"TypeError: {error}"
    return "two epochs"


seen = {
    "SGD": unfreeze(torch.optim.SGD, momentum=0.9),
    "SGD, fused": unfreeze(torch.optim.SGD, momentum=0.9, fused=True),
    "SGD, fused, no momentum": unfreeze(torch.optim.SGD, fused=True),
    "AdamW, fused": unfreeze(torch.optim.AdamW, fused=True),
}
for name, outcome in seen.items():
    print(f"{name}: {outcome}")
assert seen.pop("SGD, fused").startswith("TypeError"), "fused SGD takes in a parameter later now: mended"
assert set(seen.values()) == {"two epochs"}
PYTHON
