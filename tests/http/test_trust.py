"""Certificate files that are replaced while in use."""

import logging
import os
import ssl
import subprocess
import sys
from pathlib import Path

import certifi
import pytest
import trustme

from refresher.http.trust import Trust, UnusableError

STORE = ("SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return authority_in(tmp_path / "ca.pem")


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "refresher")


def authority_in(path: Path) -> Path:
    """Replace this file atomically by the certificate of a new authority."""
    fresh = path.with_suffix(".new")
    trustme.CA().cert_pem.write_to_path(str(fresh))
    return fresh.replace(path)


def fingerprints(context: ssl.SSLContext) -> list[bytes]:
    return context.get_ca_certs(binary_form=True)


def test_an_unchanged_file_is_loaded_once(bundle: Path) -> None:
    trust = Trust(str(bundle))
    assert trust.context() is trust.context()


def test_a_replaced_file_is_read_again(bundle: Path, caplog: pytest.LogCaptureFixture) -> None:
    trust = Trust(str(bundle))
    before = trust.context()
    authority_in(bundle)
    after = trust.context()
    assert fingerprints(after) != fingerprints(before)
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{bundle} has changed")


def test_a_file_that_is_rewritten_in_place_is_read_again(bundle: Path) -> None:
    trust = Trust(str(bundle))
    before = trust.context()
    bundle.write_bytes(trustme.CA().cert_pem.bytes())
    assert fingerprints(trust.context()) != fingerprints(before)


def test_a_link_that_kubelet_swaps_is_followed_again(tmp_path: Path) -> None:
    """https://pkg.go.dev/k8s.io/kubernetes/pkg/volume/util#AtomicWriter"""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        authority_in(tmp_path / name / "ca.crt")
    (tmp_path / "..data").symlink_to("first")
    (tmp_path / "ca.crt").symlink_to("..data/ca.crt")
    trust = Trust(str(tmp_path / "ca.crt"))
    before = trust.context()
    (tmp_path / "..data_tmp").symlink_to("second")
    (tmp_path / "..data_tmp").replace(tmp_path / "..data")
    assert fingerprints(trust.context()) != fingerprints(before)


BROKEN = {
    "no PEM": (b"<html>", "it contains no certificates"),
    "empty": (b"", "it contains no certificates"),
    "cut within a certificate": (trustme.CA().cert_pem.bytes()[:200], "it contains no certificates"),
    "gone": (None, "No such file or directory"),
}


@pytest.mark.parametrize(("content", "why"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_never_replaces_a_good_one_and_is_reported_once(
    content: bytes | None, why: str, bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trust = Trust(str(bundle))
    good = trust.context()
    bundle.unlink() if content is None else bundle.write_bytes(content)
    assert [trust.context() for _ in range(3)] == [good] * 3
    problem = f"the CA file {bundle} cannot be used: {why}"
    assert trust.problem == problem
    kept = f"{problem}; the certificates that were read before stay in use"
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [("WARNING", kept)]

    bundle.write_bytes(b"otherwise broken")
    assert trust.context() is good
    assert len(caplog.records) == 2

    authority_in(bundle)
    assert trust.context() is not good
    assert trust.problem == ""


@pytest.mark.parametrize(("content", "why"), BROKEN.values(), ids=BROKEN)
def test_a_file_without_certificates_is_an_error_until_it_has_some(
    content: bytes | None, why: str, tmp_path: Path
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    trust = Trust(str(path))
    for _ in range(2):
        with pytest.raises(UnusableError) as raised:
            trust.context()
        assert str(raised.value) == f"the CA file {path} cannot be used: {why}"
    authority_in(path)
    assert len(fingerprints(trust.context())) == 1


def test_a_replaced_client_certificate_is_read_again_unless_it_is_broken(
    bundle: Path, tmp_path: Path
) -> None:
    path, authority = tmp_path / "client.pem", trustme.CA()
    path.write_bytes(authority.issue_cert("me").private_key_and_cert_chain_pem.bytes())
    trust = Trust(str(bundle), (str(path), None))
    before = trust.context()
    path.write_bytes(authority.cert_pem.bytes())  # without its key
    assert trust.context() is before
    assert f"the client certificate {path} cannot be used" in trust.problem
    path.write_bytes(authority.issue_cert("me").private_key_and_cert_chain_pem.bytes())
    assert trust.context() is not before


# --- the system's store


def hashed(directory: Path) -> Path:
    """A directory with an authority under its hashed name, as OpenSSL expects it."""
    directory.mkdir()
    certificate = authority_in(directory / "corporate.pem")
    openssl = ["openssl", "x509", "-noout", "-subject_hash", "-in", str(certificate)]
    name = subprocess.run(openssl, capture_output=True, text=True, check=True).stdout.strip()
    (directory / f"{name}.0").symlink_to(certificate.name)
    return directory


def system(monkeypatch: pytest.MonkeyPatch, file: Path, directory: Path | str) -> Trust:
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    monkeypatch.setenv("SSL_CERT_DIR", str(directory))
    return Trust()


def test_without_a_ca_file_the_systems_store_is_used(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = hashed(tmp_path / "certs")
    trust = system(monkeypatch, bundle, directory)
    assert fingerprints(trust.context()) == fingerprints(Trust(str(bundle)).context())
    assert str(trust.authorities) == f"{bundle} and {directory}"


def test_without_variables_the_store_is_that_of_python(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in STORE:
        monkeypatch.delenv(name, raising=False)
    trust, expected = Trust(), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    expected.set_default_verify_paths()
    if not expected.get_ca_certs():
        pytest.skip("the system has no bundle in one file")
    assert fingerprints(trust.context()) == fingerprints(expected)


def test_the_systems_store_is_read_again_too(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust = system(monkeypatch, bundle, tmp_path / "nowhere")
    before = trust.context()
    authority_in(bundle)
    assert fingerprints(trust.context()) != fingerprints(before)


def test_a_certificate_added_to_the_directory_is_loaded(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = hashed(tmp_path / "certs")
    trust = system(monkeypatch, bundle, f"{tmp_path}/nowhere{os.pathsep}{directory}")
    before = trust.context()
    authority_in(directory / "another.pem")
    assert trust.context() is not before


@pytest.mark.parametrize("variables", [{}, {"SSL_CERT_DIR": "hashed"}], ids=["empty", "a directory"])
def test_certifi_is_used_only_without_a_system_store(variables: dict[str, str], tmp_path: Path) -> None:
    """In a separate process, because the default paths of OpenSSL cannot be set here."""
    hashed(tmp_path / "hashed")
    program = (
        "import ssl\n"
        "nowhere = ssl.get_default_verify_paths()._replace(cafile=None, openssl_capath='/nowhere')\n"
        "ssl.get_default_verify_paths = lambda: nowhere\n"
        "from refresher.http.trust import Trust\n"
        "trust = Trust(); print(len(trust.context().get_ca_certs()), trust.authorities)"
    )
    environ = {name: value for name, value in os.environ.items() if name not in STORE}
    environ |= {name: str(tmp_path / value) for name, value in variables.items()}
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environ
    )
    count, where = ended.stdout.split()
    if variables:
        assert (count, where) == ("0", str(tmp_path / "hashed"))  # OpenSSL loads certificates on demand
    else:
        assert int(count) > 50
        assert where == certifi.where()


def test_a_missing_file_named_by_the_environment_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnusableError, match=r"nowhere\.pem cannot be used: No such file"):
        system(monkeypatch, tmp_path / "nowhere.pem", hashed(tmp_path / "certs")).context()
