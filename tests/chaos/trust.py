"""A private certificate authority before one installation, and the file from which its daemon has it."""

import ssl
from pathlib import Path

import trustme


class Trust:
    """`context`: of the server, with a certificate of the present authority. `file`: the one to trust."""

    def __init__(self, file: Path) -> None:
        self.file, self.context = file, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.replace_authority()
        self.publish()

    def replace_authority(self) -> None:
        """Have the server show a certificate of another authority than the one in the file."""
        self._authority = trustme.CA()
        self._authority.issue_cert("127.0.0.1").configure_cert(self.context)

    def publish(self) -> None:
        """The file has the present authority."""
        fresh = self.file.with_suffix(".new")
        self._authority.cert_pem.write_to_path(str(fresh))
        fresh.rename(self.file)
