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
        if script_run.takes_weights_file:
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
    if script_run.config.mode == "frozen":
        lines.append("backbone.eval().requires_grad_(False)  # frozen")
    return "\n".join(lines)


def write_head(config: TrainConfig, width: int) -> str:
    """Return the text that builds the new head.

    Args:
        config: kind, hidden layer, dropout and initialization.
        width: of the features.

    Returns:
        Python text.
    """
    layers = [f"nn.Linear({width}, {config.head_hidden})", "nn.ReLU()"] if config.head_hidden else []
    layers += [f"nn.Dropout({config.dropout:g})"] if config.dropout else []
    pair = ["LogitPair()"] if config.head_kind == "logit" else []
    outputs = "1" if pair else 'len(split["classes"])'
    classifier = f"nn.Linear({config.head_hidden or width}, {outputs})"
    name = "classifier" if layers or pair else "head"
    text = f"{_LOGIT_PAIR if pair else ''}\n{name} = {classifier}"
    if layers or pair:
        text += f"\nhead = nn.Sequential({', '.join([*layers, 'classifier', *pair])})"
    if config.head_init == "small":
        text += f"\nnn.init.normal_({name}.weight, std=0.01)  # nearly equal probabilities at the start"
        text += f"\nnn.init.zeros_({name}.bias)"
    elif config.head_init == "xavier":
        text += "\nfor layer in head.modules():\n    if isinstance(layer, nn.Linear):"
        text += "\n        nn.init.xavier_uniform_(layer.weight)"
    return text


def write_optimizer(config: TrainConfig) -> str:
    """Return the text that builds the optimizer."""
    is_decay_split = bool(config.weight_decay) and not config.decay_norm_and_bias
    decay = f"{config.weight_decay or 0:g}"
    is_frozen = config.mode == "frozen"
    options = "" if is_decay_split else f", weight_decay={decay}"
    name = {"adamw": "AdamW", "adam": "Adam", "sgd": "SGD", "rmsprop": "RMSprop"}[config.optimizer]
    if config.optimizer == "sgd":
        options = f", momentum={config.momentum:g}{options}"
        options += ", nesterov=True" if config.nesterov and config.momentum else ""
    rates = [("head", "HEAD_LR")] if is_frozen else [("backbone", "BACKBONE_LR"), ("head", "HEAD_LR")]
    lines = ["groups = ["]
    for module, rate in rates:
        if is_decay_split:
            kinds = {"> 1": decay, "< 2": "0"}
            lines += [
                f'    {{"params": [p for p in {module}.parameters() if p.ndim {size}], "lr": {rate}, '
                f'"weight_decay": {kind_decay}}},'
                for size, kind_decay in kinds.items()
            ]
        else:
            lines.append(f'    {{"params": {module}.parameters(), "lr": {rate}}},')
    if is_decay_split:
        lines.insert(0, "# Weight decay shrinks matrices only: biases and the weights of normalization are vectors.")
    return "\n".join([*lines, "]", f"optimizer = torch.optim.{name}(groups{options})"])


def write_schedule(script_run: ScriptRun) -> str:
    """Return the text that builds the learning rate schedule, which goes on at each step; empty without one."""
    config = script_run.config
    lines = [f"steps = EPOCHS * {write_batch_count(script_run)}"]
    if config.schedule == "onecycle":
        rates = "HEAD_LR" if config.mode == "frozen" else "[BACKBONE_LR, HEAD_LR]"
        if config.mode != "frozen" and config.weight_decay and not config.decay_norm_and_bias:
            rates = "[BACKBONE_LR, BACKBONE_LR, HEAD_LR, HEAD_LR]"
        return f"{lines[0]}\nscheduler = lr_scheduler.OneCycleLR(optimizer, {rates}, steps, cycle_momentum=False)"
    has_warmup = script_run.warmup_steps > 0
    remaining = "steps - warmup" if has_warmup else "steps"
    step = "(step + warmup)" if has_warmup else "step"
    power = "//" if config.schedule == "step" else "/"
    exponent = f"{step} {power} ({config.lr_step_epochs} * {write_batch_count(script_run)})"
    exponent = exponent if config.lr_step_epochs else f"3 * step {power} ({remaining})"
    decay = {
        "cosine": f"lr_scheduler.CosineAnnealingLR(optimizer, {remaining})",
        "step": f"lr_scheduler.LambdaLR(optimizer, lambda step: {config.lr_gamma:g} ** ({exponent}))",
        "exponential": f"lr_scheduler.LambdaLR(optimizer, lambda step: {config.lr_gamma:g} ** ({exponent}))",
    }.get(config.schedule, "")
    if not has_warmup:
        return "\n".join([*lines, f"scheduler = {decay}"]) if decay else ""
    lines += [
        f"warmup = int({config.warmup_fraction:g} * steps)  # the rate rises first: the new head's gradients are large",
        f"{'rise' if decay else 'scheduler'} = lr_scheduler.LinearLR(optimizer, 1 / (warmup + 1), 1, warmup)",
    ]
    if decay:
        lines += [f"decay = {decay}", "scheduler = lr_scheduler.SequentialLR(optimizer, [rise, decay], [warmup])"]
    return "\n".join(lines)


def write_batch_count(script_run: ScriptRun) -> str:
    """Return the expression of the batches of an epoch."""
    if not script_run.config.caches_features:
        return "len(train_batches)"
    return "(len(labels) // BATCH_SIZE)" if script_run.leaves_one_image else "math.ceil(len(labels) / BATCH_SIZE)"


def _write_path(spec: BackboneSpec) -> str:
    """Return the expression of the classifier: `classifier.1` is `backbone.classifier[1]`."""
    return "backbone" + "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in spec.head.split("."))
