"""Connections to the API server, with time and size limits, and TLS by `http.trust`."""

import ssl

from urllib3 import PoolManager

from refresher.http.connections import bounded_pools, drop_idle
from refresher.http.trust import Trust

# Bytes of a response. etcd accepts objects of 1.5 MiB. JSON and managedFields make them longer.
LONGEST_RESPONSE = 16 * 1024 * 1024

_FILES = ("ca_certs", "cert_file", "key_file")


class Wire:
    """Limits the connections of `pools`, which the Kubernetes client configured, and reloads their
    certificates.

    It reads the TLS files of the Pod or kubeconfig again when they change. The Kubernetes client alone reads
    them for each connection, and cannot connect while they are broken.
    """

    def __init__(self, pools: PoolManager, *, over_tls: bool) -> None:
        self._pools = pools
        pools.pool_classes_by_scheme = bounded_pools(LONGEST_RESPONSE)
        files = {name: pools.connection_pool_kw.pop(name, None) for name in _FILES}
        client = (files["cert_file"], files["key_file"]) if files["cert_file"] else None
        verify = pools.connection_pool_kw.get("cert_reqs") != ssl.CERT_NONE
        self.trust = Trust(files["ca_certs"], client, verify=verify) if over_tls else None

    def renew(self) -> None:
        """Use the current content of the files. If it has changed, close the idle connections.

        Raises UnusableError.
        """
        if self.trust is None:
            return
        context = self.trust.context()
        before = self._pools.connection_pool_kw.get("ssl_context")
        self._pools.connection_pool_kw["ssl_context"] = context
        if before is not None and before is not context:
            drop_idle(self._pools)
