"""A private certificate authority for one installation, and the file that its daemon trusts."""

import ssl
from pathlib import Path

import trustme


class Trust:
    """`context`: the server's, with a certificate of the current authority. `file`: the trusted one."""

    def __init__(self, file: Path) -> None:
        self.file, self.context = file, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.replace_authority()
        self.publish()

    def replace_authority(self) -> None:
        """Give the server a certificate of an authority that is not in the file."""
        self._authority = trustme.CA()
        self._authority.issue_cert("127.0.0.1").configure_cert(self.context)

    def publish(self) -> None:
        """Write the current authority to the file."""
        fresh = self.file.with_suffix(".new")
        self._authority.cert_pem.write_to_path(str(fresh))
        fresh.rename(self.file)
