"""The certificate of the data listener, and where peers find that listener."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import os
import ssl
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

CERTIFICATE_DAYS = 3650  # pinned, not trusted for its dates


def make_certificate(path: Path) -> bytes:
    """Write a key and a self-signed certificate to `path` (0600) and return the certificate's SHA-256.

    Made anew at every start: tickets of an earlier run are void then, and so is the training that they were for.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "heliotrope")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=CERTIFICATE_DAYS))
        .sign(key, hashes.SHA256())
    )
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        file.write(certificate.public_bytes(serialization.Encoding.PEM))
    return hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).digest()


def reachable_host(addresses: Sequence[str]) -> str:
    """The host of the first multiaddr that is not this machine's loopback, else of the first."""
    hosts = [address.split("/")[2] for address in addresses]
    return next((host for host in hosts if not ipaddress.ip_address(host).is_loopback), hosts[0])


def server_context(certificate: Path) -> ssl.SSLContext:
    """TLS 1.3 and nothing older, with the certificate at `certificate`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate)
    return context


def client_context() -> ssl.SSLContext:
    """TLS 1.3 and nothing older. Whom it speaks to is told by the pinned certificate, not by an authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
