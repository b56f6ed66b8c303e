"""Python text of a run's batches, training loop and validation."""

from __future__ import annotations

from ftlab.export.plain_script.script_run import ScriptRun


def write_loaders(script_run: ScriptRun, train_transform: str) -> str:
    """Return the text of the loaders of images; its shuffling follows a generator, as that of the run.

    Args:
        script_run: the run.
        train_transform: name of the transform of training images.
    """
    options = "BATCH_SIZE, sampler=RandomSampler(train_set, generator=shuffle)"
    options += ", drop_last=True" if script_run.leaves_one_image else ""
    # The run adds the one image to the batch before, which a loader cannot do.
    comment = "# A batch of one image would be left, from which BatchNorm cannot learn.\n" * script_run.leaves_one_image
    return f"""shuffle = torch.Generator()
train_set = ImageSet("train", {train_transform})
{comment}train_batches = DataLoader(train_set, {options})
val_batches = DataLoader(ImageSet("val", eval_transform), BATCH_SIZE)"""


def write_features(script_run: ScriptRun) -> str:
    """Return the text that computes the features of a frozen backbone once."""
    train_features = 'compute_features("train", eval_transform)'
    if script_run.config.views_per_image > 1:
        train_features = 'torch.stack([compute_features("train", transform) for transform in view_transforms])'
    return f'''# The backbone never changes, so that an image goes through it once instead of in every epoch.
@torch.no_grad()
def compute_features(part, transform):
    """Return what the backbone makes of images, [N, D]."""
    batches = DataLoader(ImageSet(part, transform), BATCH_SIZE)
    return torch.cat([backbone(images.to(device)) for images, _ in batches])


features = {train_features}
labels = torch.tensor([label for _, label in split["train"]], device=device)
val_features = compute_features("val", eval_transform)
val_labels = torch.tensor([label for _, label in split["val"]], device=device)'''


def write_loss(script_run: ScriptRun, logits: str, labels: str) -> str:
    """Return the text that computes the mean loss of a batch.

    Args:
        script_run: the run.
        logits: expression of the logits.
        labels: expression of the labels.
    """
    config = script_run.config
    smoothing = f", label_smoothing={config.label_smoothing:g}" if config.label_smoothing else ""
    if config.class_weights == "balanced":
        reduction = "sum" if config.loss_reduction == "sum" else "mean"
        return f'F.cross_entropy({logits}, {labels}, class_weights, reduction="none"{smoothing}).{reduction}()'
    reduction = ', reduction="sum"' if config.loss_reduction == "sum" else ""
    return f"F.cross_entropy({logits}, {labels}{smoothing}{reduction})"


def write_class_weights() -> str:
    """Return the text that computes weights with which rare classes count as much as others."""
    return """# Rare classes count as much as others.
counts = torch.tensor([label for _, label in split["train"]]).bincount(minlength=len(split["classes"])).float()
class_weights = torch.where(counts > 0, counts.sum() / ((counts > 0).sum() * counts.clamp(min=1)), 0).to(device)"""


def write_training(script_run: ScriptRun, *, has_views: bool, has_schedule: bool) -> str:
    """Return the text of the loop over the epochs, which validates and keeps the best weights.

    Args:
        script_run: the run.
        has_views: the cached features are of several views of each image.
        has_schedule: there is a `scheduler`.
    """
    config = script_run.config
    clip = f"\n        nn.utils.clip_grad_norm_(model.parameters(), {config.grad_clip_norm:g})"
    score, start, right = "correct, -val_loss", "-1, 0, 0", "best[0]"
    if config.monitor == "loss":
        score, start, right = "-val_loss, correct", "-math.inf, 0, 0", "best[1]"
    seen_count = "(len(split['train']) - 1)" if script_run.leaves_one_image else "len(split['train'])"
    batch_loop, count = _write_batch_loop(script_run, has_views=has_views)
    return f"""best = ({start})
for epoch in range(1, EPOCHS + 1):
{_write_train_mode(script_run)}    train_loss = 0
{batch_loop}
        optimizer.zero_grad()
        loss.backward(){clip if config.grad_clip_norm else ""}
        optimizer.step(){chr(10) + "        scheduler.step()" if has_schedule else ""}
        train_loss += loss.item(){"" if config.loss_reduction == "sum" else f" * {count}"}
{_write_validation(script_run)}
    val_loss, correct = F.cross_entropy(logits, val_labels).item(), (logits.argmax(1) == val_labels).sum().item()
    print(
        f"epoch {{epoch}}: train loss {{train_loss / {seen_count}:.4f}}, validation loss {{val_loss:.4f}}, "
        f"accuracy {{correct / len(val_labels):.4f}} ({{correct}} of {{len(val_labels)}})"
    )
    if ({score}) > best[:2]:  # keep the weights of the best epoch
        best = ({score}, epoch)
        torch.save(model.state_dict(), "best.pt")
print(f"best: epoch {{best[2]}}, {{{right}}} of {{len(val_labels)}} validation images")"""


def _write_train_mode(script_run: ScriptRun) -> str:
    """Return the lines that set training mode for what is trained."""
    config = script_run.config
    if config.caches_features:
        return "    head.train()\n" if config.dropout else ""
    lines = ["    model.train()"]
    if config.mode == "frozen":
        lines.append("    backbone.eval()  # frozen: its BatchNorm statistics stay as they are, and its dropout is off")
    if config.batchnorm in ("frozen", "train"):
        comment = {
            "frozen": "keep the pretrained statistics: small batches give worse ones",
            "train": "the statistics follow the new images, though no weight does",
        }[config.batchnorm]
        lines += [
            f"    for layer in backbone.modules():  # {comment}",
            "        if isinstance(layer, nn.modules.batchnorm._BatchNorm):",
            f"            layer.train({config.batchnorm == 'train'})",
        ]
    return "\n".join(lines) + "\n"


def _write_batch_loop(script_run: ScriptRun, *, has_views: bool) -> tuple[str, str]:
    """Return the lines that go through the batches of an epoch, up to `loss`, and the count of a batch's images."""
    if not script_run.config.caches_features:
        return (
            f"""    shuffle.manual_seed(SEED * 1_000_003 + epoch)  # the order of the run
    for images, labels in train_batches:
        images, labels = images.to(device), labels.to(device)
        loss = {write_loss(script_run, "model(images)", "labels")}""",
            "len(labels)",
        )
    order = "torch.randperm(len(labels), generator=shuffle)"
    order += "[:-1]" if script_run.leaves_one_image else ""  # as `drop_last` of a loader
    lines = ["    shuffle = torch.Generator().manual_seed(SEED * 1_000_003 + epoch)  # the order of the run"]
    logits = "head(features[rows])"
    if has_views:
        logits = "head(features[views[rows], rows])"
        lines += [
            "    dice = torch.Generator().manual_seed((SEED * 1_000_003 + epoch) * 97)",
            "    views = torch.randint(len(features), (len(labels),), generator=dice)  # one view of each image",
        ]
    lines += [
        f"    for rows in {order}.split(BATCH_SIZE):",
        f"        loss = {write_loss(script_run, logits, 'labels[rows]')}",
    ]
    return "\n".join(lines), "len(rows)"


def _write_validation(script_run: ScriptRun) -> str:
    """Return the lines that compute `logits` and `val_labels` of the validation images."""
    if script_run.config.caches_features:
        mode = "    head.eval()\n" if script_run.config.dropout else ""
        return f"{mode}    with torch.inference_mode():\n        logits = head(val_features)"
    return """    model.eval()
    with torch.inference_mode():
        answers = [(model(images.to(device)), labels.to(device)) for images, labels in val_batches]
        logits, val_labels = (torch.cat(parts) for parts in zip(*answers, strict=True))"""
