"""Pod servers with TLS and a token, one of each runtime for a module; an engine for those that need one."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import sys
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.wtmo.local.pods.docker_engine import PYTHON_IMAGE, DockerEngine, NoEngineError
from tests.wtmo.local.pods.support import Certificates, PodServer
from utils.config import environment
from wtmo.local.pods.runtimes import NamespaceRuntime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kubernetes import client


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A certificate for 127.0.0.1 signed by a CA; clients are given the CA only."""
    folder = tmp_path_factory.mktemp("certificates")
    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)

    def signed(name: str, issuer: str, signer: ec.EllipticCurvePrivateKey | None, *, ca: bool) -> tuple[bytes, Any]:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + datetime.timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key((signer or key).public_key()), critical=False
            )
            .add_extension(
                x509.KeyUsage(
                    digital_signature=True, key_cert_sign=ca, crl_sign=ca, content_commitment=False,
                    key_encipherment=False, data_encipherment=False, key_agreement=False,
                    encipher_only=False, decipher_only=False,
                ),
                critical=True,
            )
        )  # fmt: skip
        certificate = builder.sign(signer or key, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM), key

    ca_pem, ca_key = signed("test CA", "test CA", None, ca=True)
    pem, key = signed("127.0.0.1", "test CA", ca_key, ca=False)
    found = Certificates(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    found.ca.write_bytes(ca_pem)
    found.certificate.write_bytes(pem)
    found.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return found


@pytest.fixture(scope="session")
def namespaces(tmp_path_factory: pytest.TempPathFactory) -> str | None:
    """Why there are no Linux namespaces here; None if there are."""
    if sys.platform != "linux":
        return "not Linux"
    runtime = NamespaceRuntime(visible=[], masked=[], platform=None)
    return asyncio.run(runtime.probe(tmp_path_factory.mktemp("probe")))


@pytest.fixture(scope="session")
def engine() -> Iterator[DockerEngine]:
    """A Docker engine for the whole run. In CI there must be one."""
    try:
        started = DockerEngine()
    except NoEngineError as error:
        if environment().get("CI") == "true":
            pytest.fail(f"no Docker engine in CI: {error}")
        pytest.skip(f"no Docker engine: {error}")
    yield started
    started.end()


@pytest.fixture(scope="module")
def make_server(
    request: pytest.FixtureRequest,
    certificates: Certificates,
    namespaces: str | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., PodServer]]:
    servers: list[PodServer] = []

    def make(runtime: str, *options: str) -> PodServer:
        if runtime == "namespace" and namespaces:
            pytest.skip(f"no namespaces: {namespaces}")
        address = ""
        if runtime == "docker":
            address = request.getfixturevalue("engine").address
            options = ("--stand-in-image", PYTHON_IMAGE, *options)
        folder = tmp_path_factory.mktemp("server")
        servers.append(PodServer(folder, certificates, runtime, *options, engine=address))
        return servers[-1]

    yield make
    for server in servers:
        if server.process is not None and server.process.poll() is None:
            server.stop()


@pytest.fixture(scope="module", params=["namespace", "process"])
def server(request: pytest.FixtureRequest, make_server: Callable[..., PodServer]) -> PodServer:
    """A server of each runtime, shared by the tests of a module: tests name their pods after themselves."""
    return make_server(request.param)


@pytest.fixture
def api(server: PodServer) -> client.CoreV1Api:
    return server.api()


@pytest.fixture(scope="module", params=["namespace", "process", "docker"])
def every_server(request: pytest.FixtureRequest, make_server: Callable[..., PodServer]) -> PodServer:
    """As ``server``, with the runtime that takes an engine."""
    return make_server(request.param, "--back-off", "1")
