"""A simulator that keeps its connections open, as the real services do: `python -m benchmarks.kept_open sandbox.dataverse ...`.

The server of the simulators closes each connection after one answer. A client would then pay for a TLS handshake with
every request, which costs more than hashing a thousand members, and what is measured would be handshakes.
"""

import runpy
import sys
from io import BytesIO
from typing import Any

from werkzeug import serving


class KeepsOpen(serving.WSGIRequestHandler):
    """Answers a request whole and leaves the connection as it is; the body of a request is always read to its end."""

    def run_wsgi(self) -> None:
        """Answer one request."""
        environ = self.make_environ()
        if not environ.get("wsgi.input_terminated"):  # a body in chunks is read by whoever wants it
            environ["wsgi.input"] = BytesIO(self.rfile.read(int(environ.get("CONTENT_LENGTH") or 0)))
        status, headers, body = self._asked(environ)
        try:
            self.wfile.write(_head(status, headers, len(body)) + (b"" if self.command == "HEAD" else body))
        except OSError:  # the client is gone, or the simulator cut the connection on purpose
            self.close_connection = True

    def _asked(self, environ: Any) -> tuple[str, list[tuple[str, str]], bytes]:
        began: list[Any] = []

        def start(status: str, headers: list[tuple[str, str]], *_: object) -> Any:
            began[:] = [status, headers]

        body = b"".join(self.server.app(environ, start))
        return began[0], began[1], body


def _head(status: str, headers: list[tuple[str, str]], length: int) -> bytes:
    names = {name.lower() for name, _ in headers}
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers)]
    if "content-length" not in names and not status.startswith(("204", "304")):
        lines.append(f"Content-Length: {length}")
    return "\r\n".join((*lines, "", "")).encode("latin-1")


if __name__ == "__main__":
    serving.WSGIRequestHandler = KeepsOpen  # type: ignore[misc]  # before the simulators' server derives its own from it
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
