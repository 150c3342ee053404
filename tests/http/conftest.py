"""Fixtures that the tests of the HTTP clients share with those of the issuer's client."""

from tests.issuer.conftest import _no_proxies_and_no_bundles, authority, ca_file, tls

__all__ = ["_no_proxies_and_no_bundles", "authority", "ca_file", "tls"]
