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
        optimizer="sgd",
        momentum=0.8,
        weight_decay=0.123456789,
        schedule="step",
        warmup=0.2,
        label_smoothing=0.1,
        features="fresh",
        feature_views=5,
        max_minutes=12.5,
        seed=17,
        side=96,
        resize=112,
        resize_mode="squash",
        normalise="unit",
        augment="flip",
        crop_scale=0.5,
        crop_ratio=1.7,
        crop_side=128,
        flip=0.25,
        flip_vertical=0.1,
        rotate=12.5,
        rotate_border="reflect",
        brightness=0.2,
        contrast=0.3,
        saturation=0.4,
        hue=0.05,
        grayscale=0.15,
        blur=1.5,
        erase=0.35,
        device="cpu",
        precision="fp32",
        workers=3,
        threads=2,
    )
