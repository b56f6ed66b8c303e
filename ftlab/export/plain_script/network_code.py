"""Python text of a run's network, optimizer and learning rate schedule."""

from __future__ import annotations

from ftlab.config.backbones import BackboneSpec
from ftlab.config.train_config import TrainConfig
from ftlab.export.plain_script.script_run import ScriptRun
from ftlab.models.pretrained.weights import get_timm_name

_LOGIT_PAIR = '''
class LogitPair(nn.Module):
    """One logit z for two classes, as the pair (-z/2, z/2), whose softmax is the sigmoid of z."""

    def forward(self, logit):
        return torch.cat([-logit, logit], 1) / 2

'''


def write_backbone(script_run: ScriptRun) -> str:
    """Return the text that builds the backbone without its classifier."""
    spec, is_pretrained = script_run.spec, script_run.config.mode != "scratch"
    lines = ["torch.manual_seed(SEED)  # for the weights that start at random"]
    if spec.source == "timm":
        options = "" if spec.head else ", num_classes=0"
        if is_pretrained and spec.weights_package:
            lines += [
                f'backbone = timm.create_model("{get_timm_name(spec)}"{options}, pretrained=not WEIGHTS)',
                "if WEIGHTS:  # the names of the tensors differ from timm's, their order does not",
                '    state = torch.load(WEIGHTS, map_location="cpu", weights_only=True)',
                "    backbone.load_state_dict(dict(zip(backbone.state_dict(), state.values(), strict=True)))",
            ]
        else:
            lines.append(f'backbone = timm.create_model("{get_timm_name(spec)}"{options}, pretrained={is_pretrained})')
    else:
        weights = f'"{spec.weights}"' if is_pretrained else "None"
        lines.append(f'backbone = torchvision.models.get_model("{spec.name}", weights={weights})')
    if spec.auxiliary:
        lines.append(
            "backbone.transform_input = backbone.aux_logits = False  # normalized already; one classifier only"
        )
    if spec.head:
        lines.append(f"{_write_path(spec)} = nn.Identity()  # in place of its own classifier")
    return "\n".join(lines)


def write_head(config: TrainConfig, width: int, class_count: int) -> str:
    """Return the text that builds the new head.

    Args:
        config: kind, hidden layer, dropout and initialization.
        width: of the features.
        class_count: number of classes.

    Returns:
        Python text.
    """
    text = _LOGIT_PAIR if config.head_kind == "logit" else ""
    layers = [f"nn.Linear({width}, {config.head_hidden})", "nn.ReLU()"] if config.head_hidden else []
    layers += [f"nn.Dropout({config.dropout:g})"] if config.dropout else []
    pair = ["LogitPair()"] if config.head_kind == "logit" else []
    outputs = "1" if pair else "len(CLASSES)"
    classifier = f"nn.Linear({config.head_hidden or width}, {outputs})  # {class_count} classes"
    if not layers and not pair:
        text += f"\nhead = {classifier}"
    else:
        text += f"\nclassifier = {classifier}\nhead = nn.Sequential({', '.join([*layers, 'classifier', *pair])})"
    if config.head_init == "small":
        name = "classifier" if layers or pair else "head"
        text += (
            f"\nnn.init.normal_({name}.weight, std=0.01)  # nearly equal probabilities at the start"
            f"\nnn.init.zeros_({name}.bias)"
        )
    elif config.head_init == "xavier":
        text += "\nfor layer in head.modules():\n    if isinstance(layer, nn.Linear):"
        text += "\n        nn.init.xavier_uniform_(layer.weight)"
    return text


def write_optimizer(config: TrainConfig) -> str:
    """Return the text that builds the optimizer."""
    is_decay_split = bool(config.weight_decay) and not config.decay_norm_and_bias
    rates = [("head", "HEAD_LR")] if config.mode == "frozen" else [("backbone", "BACKBONE_LR"), ("head", "HEAD_LR")]
    if is_decay_split:
        groups = "groups = " + " + ".join(f"make_groups({module}, {rate})" for module, rate in rates)
    else:
        rows = [f'    {{"params": {module}.parameters(), "lr": {rate}}},' for module, rate in rates]
        groups = "\n".join(["groups = [", *rows, "]"])
    options = "" if is_decay_split else f", weight_decay={config.weight_decay or 0:g}"
    name = {"adamw": "AdamW", "adam": "Adam", "sgd": "SGD", "rmsprop": "RMSprop"}[config.optimizer]
    if config.optimizer == "sgd":
        options = f", lr=HEAD_LR, momentum={config.momentum:g}{options}"
        options += ", nesterov=True" if config.nesterov and config.momentum else ""
    helper = f'''
def make_groups(module, lr):
    """Shrink matrices only: biases and the weights of normalization layers are vectors."""
    matrices = [p for p in module.parameters() if p.ndim > 1]
    vectors = [p for p in module.parameters() if p.ndim < 2]
    return [
        {{"params": matrices, "lr": lr, "weight_decay": {config.weight_decay or 0:g}}},
        {{"params": vectors, "lr": lr, "weight_decay": 0}},
    ]


'''
    call = f"{groups}\noptimizer = torch.optim.{name}(groups{options})"
    return (helper if is_decay_split else "") + call


def write_schedule(config: TrainConfig) -> str:
    """Return the text that builds the learning rate schedule, which goes on at each step."""
    steps = "total_steps = EPOCHS * len(make_batches(1))\n"
    if config.schedule == "onecycle":
        call = "torch.optim.lr_scheduler.OneCycleLR(\n    optimizer, [group['lr'] for group in optimizer.param_groups]"
        return steps + f"scheduler = {call}, total_steps, cycle_momentum=False\n)".replace("'", '"')
    decay = {
        "cosine": "0.5 * (1 + math.cos(math.pi * progress))  # half a cosine, down to zero",
        "step": f"{config.lr_gamma:g} ** int(min(3 * progress, 2.999))  # lower after each third",
        "exponential": f"{config.lr_gamma:g} ** (3 * progress)",
    }.get(config.schedule, "1")
    if config.lr_step_epochs and config.schedule in ("step", "exponential"):
        count = f"step / ({config.lr_step_epochs} * len(make_batches(1)))"
        decay = f"{config.lr_gamma:g} ** {f'int({count})' if config.schedule == 'step' else f'({count})'}"
    warmup = [
        "    if step < warmup_steps:  # rise in a line first: the new head's gradients are large",
        "        return (step + 1) / (warmup_steps + 1)",
    ]
    start = "warmup_steps" if config.warmup_fraction else "0"
    fraction = (
        "(step - warmup_steps) / (total_steps - warmup_steps)" if config.warmup_fraction else "step / total_steps"
    )
    lines = [
        *([f"warmup_steps = int({config.warmup_fraction:g} * total_steps)"] if start != "0" else []),
        "\n\ndef lr_factor(step):",
        '    """Return the learning rate of a step, from 0, as a fraction of its peak."""',
        *(warmup if start != "0" else []),
        *([f"    progress = {fraction}"] if "progress" in decay else []),
        f"    return {decay}",
        "\n",
        "scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lr_factor)",
    ]
    return (steps if start != "0" or "total_steps" in "".join(lines) else "") + "\n".join(lines).lstrip("\n")


def _write_path(spec: BackboneSpec) -> str:
    """Return the expression of the classifier: `classifier.1` is `backbone.classifier[1]`."""
    return "backbone" + "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in spec.head.split("."))
