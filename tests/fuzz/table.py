"""Every target by name."""

from tests.fuzz import cluster, files, listener, texts, wire

TARGETS = wire.TARGETS | cluster.TARGETS | files.TARGETS | texts.TARGETS | listener.TARGETS
