"""OpenVINO's reports to its maker, prevented."""

from __future__ import annotations

import sys


def block_telemetry() -> None:
    """Hide the package `openvino_telemetry` from this process, before it imports openvino.

    The import of openvino alone sends an event to Google Analytics by this package and writes an identifier of the user
    into the home folder; a conversion sends more. Where the package cannot be imported, OpenVINO does without.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
