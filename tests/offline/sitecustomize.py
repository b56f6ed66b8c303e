"""Python imports a module of this name at its start when it is on its path, where the tests put this folder: so the
processes they start (servers, trainings) are watched too."""

from __future__ import annotations

import os
import sys

import network_guard

if os.environ.get(network_guard.LOG):
    sys.addaudithook(network_guard.refuse)
