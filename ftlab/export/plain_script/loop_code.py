"""Python text of a run's training loop and validation."""

from __future__ import annotations

from ftlab.export.plain_script.script_run import ScriptRun


def write_batches(script_run: ScriptRun) -> str:
    """Return the text of the function that divides the images of an epoch into batches."""
    image_count, batch_size = len(script_run.catalog.splits["train"]), script_run.config.effective_batch_size
    lines = [
        "def make_batches(epoch):",
        '    """Return the indices of the training images in random order, batch by batch: the order of the run."""',
        "    generator = torch.Generator().manual_seed(SEED * 1_000_003 + epoch)",
    ]
    order = 'torch.randperm(len(split["train"]), generator=generator)'
    if image_count % batch_size == 1 and image_count > batch_size:
        lines += [
            f"    *batches, before_last, last = {order}.split(BATCH_SIZE)",
            "    return [*batches, torch.cat([before_last, last])]  # BatchNorm cannot learn from one image alone",
        ]
    else:
        lines.append(f"    return {order}.split(BATCH_SIZE)")
    return "\n".join(lines)


def write_loss(script_run: ScriptRun) -> str:
    """Return the text that computes the mean loss of a batch from `logits` and `labels`."""
    config = script_run.config
    smoothing = f", label_smoothing={config.label_smoothing:g}" if config.label_smoothing else ""
    if config.class_weights == "balanced":
        reduction = "sum" if config.loss_reduction == "sum" else "mean"
        return f'F.cross_entropy(logits, labels, class_weights, reduction="none"{smoothing}).{reduction}()'
    reduction = ', reduction="sum"' if config.loss_reduction == "sum" else ""
    return f"F.cross_entropy(logits, labels{smoothing}{reduction})"


def write_class_weights() -> str:
    """Return the text that computes weights with which rare classes count as much as others."""
    return """counts = torch.tensor([label for _, label in split["train"]]).bincount(minlength=len(CLASSES)).float()
class_weights = torch.where(counts > 0, counts.sum() / ((counts > 0).sum() * counts.clamp(min=1)), 0).to(device)"""


def write_features() -> str:
    """Return the text that computes the features of a frozen backbone once."""
    return '''@torch.no_grad()  # not inference_mode: the head learns from these tensors
def compute_features(files, transform):
    """Return the features that the frozen backbone computes of images, [N, D]."""
    return torch.cat([backbone(images.to(device)) for images, _ in DataLoader(ImageSet(files, transform), BATCH_SIZE)])


# The backbone never changes, so that each view of an image is computed once instead of in every epoch.
train_views = torch.stack([compute_features(split["train"], transform) for transform in view_transforms])
train_labels = torch.tensor([label for _, label in split["train"]], device=device)
val_features = compute_features(split["val"], eval_transform)
val_labels = torch.tensor([label for _, label in split["val"]], device=device)'''


def write_validation(script_run: ScriptRun) -> str:
    """Return the text of the function that validates."""
    if script_run.config.caches_features:
        batches, inputs, module, prepare = "[(val_features, val_labels)]", "features", "head", ""
    else:
        batches, inputs, module = "val_batches", "images", "model"
        prepare = "        images, labels = images.to(device), labels.to(device)\n"
    return f'''@torch.inference_mode()
def validate():
    """Return the mean loss, and how many of the validation images get the right class."""
    {module}.eval()
    loss = correct = 0
    for {inputs}, labels in {batches}:
{prepare}        logits = {module}({inputs})
        loss += F.cross_entropy(logits, labels, reduction="sum").item()
        correct += (logits.argmax(1) == labels).sum().item()
    return loss / len(split["val"]), correct'''


def write_training(script_run: ScriptRun) -> str:
    """Return the text of the loop over the epochs, which keeps the best weights."""
    config = script_run.config
    clip = f"\n        nn.utils.clip_grad_norm_(model.parameters(), {config.grad_clip_norm:g})"
    head = f"""best = (-math.inf, -math.inf)
for epoch in range(1, EPOCHS + 1):
{_write_train_mode(script_run)}
    train_loss = 0
{_write_epoch_batches(script_run)}
        loss = {write_loss(script_run)}
        optimizer.zero_grad()
        loss.backward(){clip if config.grad_clip_norm else ""}
        optimizer.step()
        scheduler.step()
        train_loss += loss.item(){"" if config.loss_reduction == "sum" else " * len(labels)"}
    val_loss, correct = validate()"""
    score = "(-val_loss, correct)" if config.monitor == "loss" else "(correct, -val_loss)"
    return (
        head
        + f"""
    if {score} > best:  # keep the weights of the best epoch
        best, best_epoch, best_correct = {score}, epoch, correct
        torch.save(model.state_dict(), "best.pt")
    print(
        f"epoch {{epoch}}: train loss {{train_loss / len(split['train']):.4f}}, validation loss {{val_loss:.4f}}, "
        f"accuracy {{correct / len(split['val']):.4f}} ({{correct}} of {{len(split['val'])}})"
    )
print(f"best: epoch {{best_epoch}}, {{best_correct}} of {{len(split['val'])}} validation images")"""
    )


def _write_train_mode(script_run: ScriptRun) -> str:
    """Return the lines that set training mode for what is trained."""
    config = script_run.config
    if config.caches_features:
        return "    head.train()"
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
    return "\n".join(lines)


def _write_epoch_batches(script_run: ScriptRun) -> str:
    """Return the lines that go through the batches of an epoch, up to `logits` and `labels`."""
    if not script_run.config.caches_features:
        return """    for images, labels in DataLoader(train_set, batch_sampler=make_batches(epoch)):
        images, labels = images.to(device), labels.to(device)
        logits = model(images)"""
    if script_run.config.views_per_image == 1:
        return """    for rows in make_batches(epoch):
        logits, labels = head(train_views[0, rows]), train_labels[rows]"""
    return """    generator = torch.Generator().manual_seed((SEED * 1_000_003 + epoch) * 97)
    views = torch.randint(len(train_views), (len(train_labels),), generator=generator)  # one of each image
    for rows in make_batches(epoch):
        logits, labels = head(train_views[views[rows], rows]), train_labels[rows]"""
