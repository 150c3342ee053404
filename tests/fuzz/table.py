"""Every target by name."""

from tests.fuzz import cluster, files, hooks, listener, texts, wire

TARGETS = wire.TARGETS | cluster.TARGETS | files.TARGETS | texts.TARGETS | listener.TARGETS | hooks.TARGETS
