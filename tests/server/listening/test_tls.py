"""HTTPS: files that are named, and a certificate that the server makes for itself."""

from __future__ import annotations

import os
import ssl
import stat
from pathlib import Path

import pytest

from ftlab.core.errors import FtlabError
from ftlab.server.listening import tls

HOSTS = ["192.168.1.5", "127.0.0.1", "localhost", "::1"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tls.TlsFiles:
    return tls.create_self_signed(tmp_path_factory.mktemp("tls"), HOSTS)


def test_a_certificate_of_its_own_holds_for_every_address_of_the_server(files: tls.TlsFiles) -> None:
    assert files.is_self_signed
    assert tls.check_tls_files(files.certificate, files.key).certificate == files.certificate
    context = ssl.create_default_context(cafile=str(files.certificate))
    (certificate,) = context.get_ca_certs() or [{}]
    names = ssl._ssl._test_decode_cert(str(files.certificate))["subjectAltName"]  # type: ignore[attr-defined]
    assert {value for _, value in names} == {"192.168.1.5", "127.0.0.1", "localhost", "0:0:0:0:0:0:0:1"}
    assert isinstance(certificate, dict)
    if os.name != "nt":
        assert stat.S_IMODE(files.key.stat().st_mode) == 0o600


def test_it_is_kept_while_it_holds_and_made_anew_for_another_address(tmp_path: Path) -> None:
    first = tls.create_self_signed(tmp_path, HOSTS)
    fingerprint = tls.compute_fingerprint(first)
    assert len(fingerprint.split(":")) == 32
    assert tls.compute_fingerprint(tls.create_self_signed(tmp_path, HOSTS[:2])) == fingerprint
    assert tls.compute_fingerprint(tls.create_self_signed(tmp_path, [*HOSTS, "10.0.0.9"])) != fingerprint


def test_what_cannot_be_used_is_told_in_one_line(files: tls.TlsFiles, tmp_path: Path) -> None:
    other = tls.create_self_signed(tmp_path / "other", HOSTS)
    text_file = tmp_path / "notes.txt"
    text_file.write_text("no certificate", encoding="utf-8")
    for certificate, key, reason in (
        (tmp_path / "none.pem", files.key, "there is no such file"),
        (text_file, files.key, "cannot be used"),
        (files.certificate, text_file, "cannot be used"),
        (files.certificate, other.key, "cannot be used"),
    ):
        with pytest.raises(FtlabError, match=reason) as caught:
            tls.check_tls_files(certificate, key)
        assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FtlabError, match="cannot be saved in"):
        tls.create_self_signed(tmp_path / "file", HOSTS)
