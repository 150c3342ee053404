"""Both HTTP clients behind one interface: the issuer's and the API server's."""

import re
import traceback
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from refresher.clock import SystemClock
from refresher.core.model import Declined, SecretStr
from refresher.errors import KubeUnreachableError
from refresher.issuer.client import InliveIssuer
from refresher.kube.paths import secret_path
from tests.kube.connecting import by_kubeconfig, in_pod, kubeconfig, service_account

BEARER = "hEader.c2VydmljZS1hY2NvdW50.sIgnature"
VALUE = "b3Blbi1zZXNhbWU="  # of a Secret, in base64

Ask = Callable[[float], str]
"""Sends one request with this time limit in seconds. Returns why it got no response, or ""."""


def issuer(_: Path, url: str, ca: str = "") -> Ask:
    """An issuer at `url` with the authorities in the file `ca`."""
    client = InliveIssuer(url, SystemClock(), ca or None)

    def ask(seconds: float) -> str:
        answer = client.mint(SecretStr(BEARER), 60.0, seconds).answer
        if not isinstance(answer, Declined):
            return ""
        assert BEARER not in answer.message
        return re.sub(r" \(URL: .*\)$", "", answer.message)

    return ask


def api_server(directory: Path, url: str, ca: str = "") -> Ask:
    """An API server at `url`: by kubeconfig, or over TLS as in a Pod."""
    at = urlsplit(url)
    if at.scheme == "https":
        authorities = Path(ca).read_bytes() if ca else b""
        account = service_account(directory, BEARER, authorities)
        api = in_pod(account, at.port or 443, at.hostname or "")
    else:
        api = by_kubeconfig(kubeconfig(directory, url, token=BEARER))

    def ask(seconds: float) -> str:
        try:
            api.apply(secret_path("ns", "s"), {"data": {"k": VALUE}}, force=True, timeout=seconds)
        except KubeUnreachableError as error:
            traced = "".join(traceback.format_exception(error))
            message = str(error).removeprefix("patch secrets/s in namespace ns: ")
        else:
            return ""
        assert BEARER not in traced
        assert VALUE not in traced
        return message.replace("the API server ", "")

    return ask


BOTH = pytest.mark.parametrize("client", [issuer, api_server])
