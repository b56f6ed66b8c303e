"""Python imports a module of this name at its start when it is on its path, where the tests put this folder: so the
processes they start (servers, trainings, decoding workers) are watched too, and have the faults that a test wants."""

from __future__ import annotations

import os
import sys

import faulty_decoder
import network_guard

if os.environ.get(network_guard.LOG):
    sys.addaudithook(network_guard.refuse)
if os.environ.get(faulty_decoder.VARIABLE):
    sys.addaudithook(faulty_decoder.fail)
