"""Command line: `python -m sandbox.dataverse --port 0 --certificate C --key K` serves the simulator over HTTPS."""

import argparse

from sandbox.dataverse import DataverseSimulator
from sandbox.form import routes_for
from sandbox.web import serve


def main() -> None:
    """Serve until the process is ended; the first line printed says where."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.dataverse", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--certificate", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--org-name", default="contoso")
    parser.add_argument("--host", help="what webhooks name as the environment; default: the host of the latest request")
    parser.add_argument("--webhook-ca", help="the authority that signed the certificates of webhook receivers")
    parser.add_argument("--without-outbound", action="store_true", help="leave out the table of outbound segments")
    given = parser.parse_args()
    simulator = DataverseSimulator(
        organization=given.org_name,
        host=given.host,
        outbound=not given.without_outbound,
        webhook_ca=given.webhook_ca,
        pages=routes_for,
    )
    serve(simulator, given.port, given.certificate, given.key)


if __name__ == "__main__":
    main()
