"""A throw-away certificate authority for the sandbox's HTTPS servers on loopback."""

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Certificates:
    """Where the PEM files are: the authority to trust, the servers' certificate chain and its key."""

    authority: Path
    server: Path
    key: Path


def make_authority(folder: Path) -> Certificates:
    """Write a new authority and one server certificate for 127.0.0.1 and localhost into `folder`.

    The folder is created when missing; files of an earlier call are replaced, so nobody should still be using them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    certificates = Certificates(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    authority = trustme.CA(organization_name="Sandbox, throw-away")
    server = authority.issue_cert("127.0.0.1", "localhost", "::1")
    certificates.key.touch(mode=0o600)
    authority.cert_pem.write_to_path(certificates.authority)
    server.private_key_pem.write_to_path(certificates.key)
    certificates.server.write_bytes(b"".join(blob.bytes() for blob in server.cert_chain_pems))
    return certificates
