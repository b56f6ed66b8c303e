"""A backbone of real layers that takes milliseconds: timm's for tests. There are no weights of it here."""

from __future__ import annotations

from ftlab.config.backbones import BackboneSpec

TINY = BackboneSpec(
    name="test_resnet", title="Tiny", source="timm", weights="", weights_file="", megabytes=0, licence="", resize=40,
    side=32, head="fc", width=96, parameters=372_688, cam="layer4", speed=1000,
)  # fmt: skip
