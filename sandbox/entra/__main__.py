"""Serve the Entra simulator: `python -m sandbox.entra --port 0 --certificate server.pem --key server.key`."""

import argparse

from sandbox.entra import EntraSimulator
from sandbox.web import serve


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description="Simulator of Microsoft Entra ID on loopback.")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--certificate", required=True, help="PEM file with the server's certificate chain")
    parser.add_argument("--key", required=True, help="PEM file with its key")
    options = parser.parse_args()
    serve(EntraSimulator(), options.port, options.certificate, options.key)


if __name__ == "__main__":
    main()
