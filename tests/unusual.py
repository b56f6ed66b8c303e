"""A configuration for tests of what becomes of one."""

from __future__ import annotations

from ftlab.config import TrainConfig


def changed() -> TrainConfig:
    """A configuration in which no knob has its default."""
    return TrainConfig(
        data="pictures of cats",
        val_share=0.2,
        test_share=0.1,
        backbone="resnet18",
        mode="full",
        epochs=3,
        batch_size=7,
        learning_rate=1 / 3000,
        init="other.pth",
        init_part="backbone",
        rename="a.=b.",
        head_multiplier=2.5,
        backbone_rate=0.0004,
        layer_decay=0.75,
        optimizer="sgd",
        momentum=0.8,
        nesterov="no",
        decay_norms="yes",
        head_kind="logit",
        head_hidden=64,
        head_init="xavier",
        dropout=0.3,
        loss_reduction="sum",
        weight_decay=0.123456789,
        schedule="step",
        warmup=0.2,
        step_epochs=7,
        step_factor=0.2,
        plateau_mode="previous",
        plateau_patience=1,
        plateau_cuts=3,
        best_by="loss",
        early_stop=4,
        label_smoothing=0.1,
        augment="none",
        features="fresh",
        feature_views=5,
        max_minutes=12.5,
        seed=17,
        device="cpu",
        precision="fp32",
        workers=3,
        threads=2,
    )
