"""Certificates for HTTPS, without which browsers give no page on another machine the camera."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ftlab.core import file_io
from ftlab.core.errors import FtlabError

if TYPE_CHECKING:
    from cryptography import x509

AUTO = "auto"
"""Value of `--tls` for a certificate that this server makes for itself."""
VALID_DAYS = 397
"""Days for which a certificate of this server is valid: browsers accept no longer time."""
_RENEWAL_DAYS = 30


@dataclass(frozen=True)
class TlsFiles:
    """Files for HTTPS.

    Attributes:
        certificate: certificate chain, PEM.
        key: private key, PEM.
        is_self_signed: this server has made the certificate, so browsers warn of it.
    """

    certificate: Path
    key: Path
    is_self_signed: bool = False


def check_tls_files(certificate: Path, key: Path) -> TlsFiles:
    """Check that a certificate and a key can be read and belong together.

    Args:
        certificate: certificate chain, PEM.
        key: private key, PEM, without a password.

    Returns:
        The files.

    Raises:
        FtlabError: a file is missing, is no such file, or the key is another certificate's.
    """
    for path in (certificate, key):
        if not path.is_file():
            raise FtlabError("page.tls_missing", file=path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # A password would be asked for on the terminal.
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except (ssl.SSLError, OSError, ValueError) as cause:
        reason = getattr(cause, "reason", None) or str(cause)
        raise FtlabError("page.tls_unusable", certificate=certificate, key=key, cause=reason) from cause
    return TlsFiles(certificate, key)


def create_self_signed(folder: Path, hosts: Sequence[str]) -> TlsFiles:
    """Return a certificate that this server signs itself; the one of an earlier start where it still fits.

    The same one is kept, so that a browser that was told to trust it is not asked again.

    Args:
        folder: folder for the files (`FTLAB_HOME/tls`).
        hosts: names and IP addresses under which the server is reached.

    Returns:
        The files; the key is readable by its owner only.

    Raises:
        FtlabError: the folder cannot be written.
    """
    files = TlsFiles(folder / "certificate.pem", folder / "key.pem", is_self_signed=True)
    if _is_valid_for(files, hosts):
        return files
    certificate_bytes, key_bytes = _make_certificate(hosts)
    try:
        file_io.write_private_file(files.key, key_bytes)
        files.certificate.write_bytes(certificate_bytes)
    except OSError as cause:
        raise FtlabError("page.tls_folder", folder=folder, cause=cause.strerror or cause) from cause
    return files


def compute_fingerprint(files: TlsFiles) -> str:
    """Return the SHA-256 fingerprint of a certificate, as browsers show it: pairs of hex digits with colons."""
    der_bytes = ssl.PEM_cert_to_DER_cert(files.certificate.read_text(encoding="ascii"))
    digest = hashlib.sha256(der_bytes).hexdigest().upper()
    return ":".join(digest[start : start + 2] for start in range(0, len(digest), 2))


def _is_valid_for(files: TlsFiles, hosts: Sequence[str]) -> bool:
    """Return whether the files of an earlier start hold for these hosts and some time longer."""
    from cryptography import x509

    with suppress(OSError, ValueError, FtlabError):
        certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        known_hosts = {str(name.value) for name in names}
        soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=_RENEWAL_DAYS)
        check_tls_files(files.certificate, files.key)
        return set(hosts) <= known_hosts and certificate.not_valid_after_utc > soon
    return False


def _make_certificate(hosts: Sequence[str]) -> tuple[bytes, bytes]:
    """Return certificate and key in PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ftlab")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Clocks of pupils' devices may be behind.
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName([_make_alternative_name(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    key_bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), key_bytes


def _make_alternative_name(host: str) -> x509.GeneralName:
    """Return a host as a name in a certificate."""
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
