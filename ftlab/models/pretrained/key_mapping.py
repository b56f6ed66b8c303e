"""The tensors of a foreign file laid onto a network of ours: names found, parts chosen, and what does not fit told.

What is in such a file goes by many names: in containers (`model`, `state_dict`, `teacher` …), behind what wrapped the
network (`module.`, `encoder_q.`, `_orig_mod.` …). All of that stands before a tensor's own name, so one search finds
it: of every beginning that could be taken away or put in front, the one that makes the most tensors fit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ftlab.models.pretrained.checkpoint_import import Stored

if TYPE_CHECKING:
    from torch import Tensor

_WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_forward_module"}
"""What wraps a network, or a part of it, to train it: no part of any name."""
_FAVOURED = ("model_ema", "state_dict_ema", "module_ema", "ema", "teacher")
"""Of two copies that fit alike, the averaged one: it scores higher (Polyak and Juditsky, 1992)."""
_HEADS = ("fc", "head", "head.fc", "classifier", "classifier.1", "classifier.6", "linear", "last_linear", "_fc")
"""Names that classifiers go by."""
_PROBES, _TRIED = 12, 40


@dataclass(frozen=True)
class Plan:
    """Which tensor of a file goes where, and what does not.

    Attributes:
        tensors: by the network's own names, in its shapes.
        wanted: names of the requested part, without counters of batches.
        missing: of these, the ones that the file does not have.
        mismatched: of these, the ones that are of another shape in the file: (name, shape there, shape here).
        unexpected: tensors of the file, from where the others were found, that the network has no place for.
        taken: beginning of the names that was taken away, and the one put in its place.
        head: classes of the classifier in the file where it was left out because of their number; else 0.
        ordered: the names differ throughout, and the tensors were matched by their order and shapes.
    """

    tensors: dict[str, Tensor]
    wanted: tuple[str, ...]
    missing: tuple[str, ...]
    mismatched: tuple[tuple[str, str, str], ...]
    unexpected: tuple[str, ...]
    taken: tuple[str, str] = ("", "")
    head: int = 0
    ordered: bool = False

    @property
    def matched(self) -> int:
        """How many of the wanted tensors the file gives."""
        return sum(name in self.tensors for name in self.wanted)

    @property
    def enough(self) -> bool:
        """Whether half of them, or more, are there."""
        return bool(self.wanted) and 2 * self.matched >= len(self.wanted)

    def report(self, part: str) -> list[tuple[str, dict[str, object]]]:
        """What matched and what did not, the most important first: keys below `log.init` of the words, and values."""
        said: list[tuple[str, dict[str, object]]] = [(part, {"matched": self.matched, "wanted": len(self.wanted)})]
        if self.ordered:
            said.append(("ordered", {}))
        elif any(self.taken):
            key = "prefix" if not self.taken[1] else "added" if not self.taken[0] else "replaced"
            said.append((key, {"old": self.taken[0], "new": self.taken[1]}))
        if self.head:
            said.append(("head_out", {"classes": self.head}))
        shapes = tuple(f"{name} ({there} → {here})" for name, there, here in self.mismatched)
        for key, names in (("mismatched", shapes), ("missing", self.missing), ("unexpected", self.unexpected)):
            if names:
                few = ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
                said.append((key, {"count": len(names), "names": few}))
        return said


def plan(
    stored: Stored,
    here: Mapping[str, Tensor],
    head: str,
    part: str = "all",
    rename: list[tuple[str, str]] | None = None,
) -> Plan:
    """Lay the tensors of a file onto a network.

    Args:
        stored: the file's.
        here: the network's own, `Network.state_dict()`.
        head: where the classifier sits in the source's module (`Backbone.head`).
        part: `all`, `backbone` or `head`.
        rename: beginnings of names in the file, and what takes their place; done before the search.
    """
    there: dict[str, Tensor] = {}
    told: dict[str, str] = {}
    for name, tensor in stored.tensors.items():
        parent = stored.parents.get(name, "")
        changed = name.removeprefix(parent)
        for old, new in rename or []:
            if changed.startswith(old):
                changed = new + changed.removeprefix(old)
            elif (parent + changed).startswith(old):
                changed, parent = new + (parent + changed).removeprefix(old), ""
        changed = _bare(parent + changed)
        if changed not in there:
            there[changed], told[changed] = tensor, name
    body = {name.removeprefix("backbone."): name for name in here if name.startswith("backbone.")}
    rule = _rule(there, {name: here[full] for name, full in body.items()})
    used: dict[str, str] = {}
    ordered = False
    for name, full in body.items():
        source = _source(name, rule)
        if source in there:
            used[full] = source
    fitting = sum(_fits(there[source], here[full]) for full, source in used.items())
    if 2 * fitting < len(body):
        in_order = _in_order(there, {full: here[full] for full in body.values()})
        if in_order:
            used, rule, ordered = in_order, ("", ""), True
    used |= _head(there, here, head, rule, set(used.values()))
    wanted = tuple(name for name in here if _asked(name, part) and not name.endswith("num_batches_tracked"))
    spare = set(used.values())
    classes = _classes(there, here, used)
    if classes and part == "all":
        used = {name: source for name, source in used.items() if not name.startswith("head.")}
        wanted = tuple(name for name in wanted if not name.startswith("head."))
    fit = {name: source for name, source in used.items() if _asked(name, part) and _fits(there[source], here[name])}
    odd = [name for name in used if _asked(name, part) and name not in fit]
    parents = {stored.parents.get(told[source], "") for source in fit.values()}
    return Plan(
        tensors={name: there[source].reshape(here[name].shape).to(here[name].dtype) for name, source in fit.items()},
        wanted=wanted,
        missing=tuple(name for name in wanted if name not in used),
        mismatched=tuple((name, _shape(there[used[name]]), _shape(here[name])) for name in odd),
        unexpected=tuple(
            told[one] for one in there if one not in spare and stored.parents.get(told[one], "") in parents
        ),
        taken=rule,
        head=classes if part != "backbone" else 0,
        ordered=ordered,
    )


def _asked(name: str, part: str) -> bool:
    """Whether a tensor belongs to a part. Auxiliary classifiers belong to none: they are new each time."""
    return name.startswith(("backbone.", "head.") if part == "all" else f"{part}.")


def _bare(name: str) -> str:
    """A name without what wrapped the network in training."""
    return ".".join(one for one in name.split(".") if one not in _WRAPPERS)


def _source(name: str, rule: tuple[str, str]) -> str:
    """Name in the file of a tensor that the network calls `name`."""
    taken, added = rule
    return taken + name.removeprefix(added) if name.startswith(added) else f"\0{name}"


def _fits(one: Tensor, other: Tensor) -> bool:
    """Whether the numbers go into the place: a 1 × 1 convolution is a linear layer, nothing else may differ."""
    squeezed = [[n for i, n in enumerate(t.shape) if i < 2 or n != 1] for t in (one, other)]
    return squeezed[0] == squeezed[1] and one.is_floating_point() == other.is_floating_point()


def _rule(there: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> tuple[str, str]:
    """The beginning to take from the file's names, and the one to put in its place, so that most tensors fit."""
    probes = [name for name in wanted if wanted[name].ndim > 0][:: max(1, len(wanted) // _PROBES)]
    seen: Counter[tuple[str, str]] = Counter()
    for probe in probes:
        mine = probe.split(".")
        for name in there:
            parts = name.split(".")
            common = 0
            while common < min(len(parts), len(mine)) and parts[-1 - common] == mine[-1 - common]:
                common += 1
            if common and _fits(there[name], wanted[probe]):
                taken, added = parts[: len(parts) - common], mine[: len(mine) - common]
                seen["".join(f"{one}." for one in taken), "".join(f"{one}." for one in added)] += 1
    best, most = ("", ""), -1.0
    for rule, _ in [(("", ""), 0), *seen.most_common(_TRIED)]:
        fitting = sum(
            source in there and _fits(there[source], tensor)
            for source, tensor in ((_source(name, rule), tensor) for name, tensor in wanted.items())
        )
        favoured = any(one in rule[0].split(".") for one in _FAVOURED)
        score = fitting + 0.5 * favoured - 0.001 * len(rule[1])
        if score > most:
            best, most = rule, score
    return best


def _in_order(there: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, str]:
    """The file's tensors one by one beside the network's, if as many of the same shapes follow each other from the
    file's first one on; else nothing. Two libraries may give one architecture names that have nothing in common."""
    mine = [name for name, tensor in wanted.items() if tensor.ndim]  # not the counters of batches
    names = [name for name, tensor in there.items() if tensor.ndim]
    pairs = list(zip(mine, names, strict=False))
    alike = len(names) >= len(mine) and all(there[b].shape == wanted[a].shape for a, b in pairs)
    return dict(pairs) if alike else {}


def _head(
    there: Mapping[str, Tensor], here: Mapping[str, Tensor], head: str, rule: tuple[str, str], used: set[str]
) -> dict[str, str]:
    """The classifier: by the source's name behind the same beginning, else by a name that classifiers go by. One of
    several layers only another network of ours has, by the very same names."""
    own = {name: name for name in here if name.startswith("head.") and name in there}
    last = last_layer(here)
    if own or "head.hidden.weight" in here or f"{last}.weight" not in here:
        return own
    width = here[f"{last}.weight"].shape[1]
    places = [_source(head, rule), *(f"{rule[0]}{name}" for name in _HEADS)]
    parents = {rule[0], ""}
    with suppress(ValueError):
        parents.add(rule[0][: rule[0].rindex(".", 0, -1) + 1])  # beside what was taken for the backbone
    places += [f"{parent}{name}" for parent in sorted(parents, key=len, reverse=True) for name in _HEADS]
    for place in places:
        weight = there.get(f"{place}.weight")
        if weight is not None and f"{place}.weight" not in used and weight.ndim in (2, 4) and weight.shape[1] == width:
            kinds = ("weight", "bias")
            return {f"{last}.{kind}": f"{place}.{kind}" for kind in kinds if f"{place}.{kind}" in there}
    return {}


def last_layer(names: Collection[str]) -> str:
    """Where the last layer of a head of ours sits, by the names of a network's tensors."""
    return "head.classifier" if "head.classifier.weight" in names else "head"


def _classes(there: Mapping[str, Tensor], here: Mapping[str, Tensor], used: Mapping[str, str]) -> int:
    """Classes of the file's classifier, where they are not as many as here; else 0."""
    last = f"{last_layer(here)}.weight"
    found = used.get(last)
    if found is None or there[found].shape[0] == here[last].shape[0]:
        return 0
    return int(there[found].shape[0])


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "1"
