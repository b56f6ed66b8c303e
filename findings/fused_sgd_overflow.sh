#!/usr/bin/env bash
# One would guess: a step that `torch.amp.GradScaler` skips, because a gradient is infinite, leaves the optimizer as it
# was, whichever implementation the optimizer has. So it is with plain SGD.
#
# True: `torch.optim.SGD(momentum=…, fused=True)` has allocated its momentum by then, and the kernel returns before it
# writes to it. The buffer is uninitialized memory, no error is raised, and the next step moves the weights by it. The first
# step of a training in float16 overflows as a rule: the scale starts at 65,536.
#
# Seen with torch 2.15.0, on the CPU (the values in the buffer are whatever was in memory):
#   plain: weights [1.0, 1.0, 1.0] after the skipped step, momentum None; then 0.9 each
#   fused: weights [1.0, 1.0, 1.0] after the skipped step, momentum allocated
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.15.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import torch

print("torch", torch.__version__)
kept = {}
for fused in (False, True):
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    optimizer.zero_grad()
    scaler.scale((weight * torch.tensor([float("inf"), 1.0, 1.0])).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    momentum = optimizer.state[weight].get("momentum_buffer")
    kept[fused] = momentum
    print("fused" if fused else "plain", "weights", weight.tolist(), "momentum", momentum)
assert kept[False] is None, "plain SGD keeps something of a skipped step now"
assert kept[True] is not None, "fused SGD keeps nothing of a skipped step any more: mended"
PYTHON
