"""Serve the LinkedIn simulator: `python -m sandbox.linkedin --port 0 --certificate server.pem --key server.key`."""

import argparse

from sandbox.linkedin import LinkedInSimulator
from sandbox.linkedin.seeds import CLIENT_ID, CLIENT_SECRET
from sandbox.web import serve


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description="Simulator of LinkedIn on loopback.")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--certificate", required=True, help="PEM file with the server's certificate chain")
    parser.add_argument("--key", required=True, help="PEM file with its key")
    parser.add_argument("--client-id", default=CLIENT_ID)
    parser.add_argument("--client-secret", default=CLIENT_SECRET)
    parser.add_argument("--redirect-uri", action="append", default=[], help="address to send people back to; may be repeated")
    parser.add_argument("--versions-never-end", action="store_true", help="answer old API versions for ever")
    options = parser.parse_args()
    simulator = LinkedInSimulator(
        client_id=options.client_id, client_secret=options.client_secret, redirect_uris=options.redirect_uri
    )
    simulator.state.settings.versions_end = not options.versions_never_end
    serve(simulator, options.port, options.certificate, options.key)


if __name__ == "__main__":
    main()
