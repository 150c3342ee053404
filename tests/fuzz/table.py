"""Every target by name."""

from tests.fuzz import cluster, files, texts, wire

TARGETS = wire.TARGETS | cluster.TARGETS | files.TARGETS | texts.TARGETS
