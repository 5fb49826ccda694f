"""Certificates and keys of the stand-ins. Made once on each machine, never shared, never committed."""

from __future__ import annotations

import datetime as dt
import ipaddress
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from wtmo.local.state import write_private

if TYPE_CHECKING:
    from pathlib import Path

_DAYS = 3650


def fernet_key() -> str:
    """A new key for Airflow's ``[core] fernet_key``."""
    return Fernet.generate_key().decode()


def ssh_host_key() -> str:
    """A new private key of an SSH server, in the form of OpenSSH."""
    return (
        ed25519.Ed25519PrivateKey
        .generate()
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
        .decode()
    )


def ssh_public_key(private: str) -> str:
    """The public half of :func:`ssh_host_key`, as ``known_hosts`` has it: ``ssh-ed25519 AAAA...``."""
    key = serialization.load_ssh_private_key(private.encode(), password=None)
    return key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


def ensure_certificate(folder: Path) -> None:
    """Make ``pods.crt`` and ``pods.key`` in ``folder`` if they are not there: self-signed, for 127.0.0.1, localhost and
    ``pods``, the server's name in docker-compose.yml.
    """
    certificate, key = folder / "pods.crt", folder / "pods.key"
    if certificate.exists() and key.exists():
        return
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "telemetry-airflow local pods")])
    now = dt.datetime.now(dt.UTC)
    built = (
        x509
        .CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([
                x509.DNSName("localhost"),
                x509.DNSName("pods"),
                x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
            ]),
            critical=False,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=True,
                crl_sign=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .sign(private, hashes.SHA256())
    )
    write_private(key, _pem(private))
    write_private(certificate, built.public_bytes(serialization.Encoding.PEM).decode())


def service_account_key(token_uri: str, project_id: str) -> dict[str, str]:
    """A key file of a Google service account with a key of its own.

    :param token_uri: where clients trade the signed assertion for a token: the local stand-in.
    """
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    email = f"local@{project_id}.iam.gserviceaccount.com"
    return {
        "type": "service_account",
        "project_id": project_id,
        "private_key_id": "local",
        "private_key": _pem(private),
        "client_email": email,
        "client_id": "local",
        "token_uri": token_uri,
    }


def _pem(private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
