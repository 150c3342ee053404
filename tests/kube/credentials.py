"""Certificates, the key for service accounts, and kubeconfigs of a test cluster."""

import base64
import json
from pathlib import Path
from typing import Any

import trustme
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

ISSUER = "https://kubernetes.default.svc.cluster.local"


class Credentials:
    """The credentials of an API server at this address, written into this directory."""

    def __init__(self, directory: Path, host: str) -> None:
        self.ca = directory / "ca.pem"
        self.serving = directory / "serving.pem"  # certificate and key, as is the next
        self.admin = directory / "admin.pem"
        self.signing = directory / "service-accounts.pem"
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.ca))
        serving = authority.issue_cert(host, "localhost", "kubernetes.default.svc")
        serving.private_key_and_cert_chain_pem.write_to_path(str(self.serving))
        # The user is the common name, the group the organization: this group may do everything.
        # https://kubernetes.io/docs/reference/access-authn-authz/authentication/#x509-client-certificates
        admin = authority.issue_cert("admin", common_name="admin", organization_name="system:masters")
        admin.private_key_and_cert_chain_pem.write_to_path(str(self.admin))
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        self.signing.write_bytes(self._key.private_bytes(*pem))

    def altered(self, token: str, **claims: Any) -> str:
        """This service account token with other claims, such as the expiry, signed with the server's key."""
        header = token.split(".")[0]
        signed = f"{header}.{_base64url(json.dumps(claims_of(token) | claims).encode())}"
        signature = self._key.sign(
            signed.encode(), padding.PKCS1v15(), hashes.SHA256()
        )  # RS256, as its header says
        return f"{signed}.{_base64url(signature)}"

    def kubeconfig(
        self, path: Path, url: str, *, namespace: str = "default", token: str | None = None
    ) -> None:
        """A kubeconfig for the owner of the token; without a token, for the administrator."""
        certificate = {"client-certificate": str(self.admin), "client-key": str(self.admin)}
        written = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [
                {"name": "test", "context": {"cluster": "test", "user": "test", "namespace": namespace}}
            ],
            "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority": str(self.ca)}}],
            "users": [{"name": "test", "user": certificate if token is None else {"token": token}}],
        }
        path.write_text(json.dumps(written))  # every JSON document is YAML


def claims_of(token: str) -> dict[str, Any]:
    """The claims of a service account token, not verified."""
    read: dict[str, Any] = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    return read


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
