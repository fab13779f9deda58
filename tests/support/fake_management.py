"""
A management API of one's own on a real socket, which answers as a test says.
"""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FakeManagement:
    """
    Knows servers, leases and removals that wait, as a cluster of format 2 does.

    @ivar servers: the registrations, by id.
    @ivar calls: method and path of the calls so far.
    @ivar lease: of the renewals, in seconds.
    @ivar busy: while it is set, removed servers have a request in flight.
    """

    def __init__(self) -> None:
        self.servers: dict[str, Any] = {}
        self.calls: list[str] = []
        self.lease = 3.0
        self.busy = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def stop(self) -> None:
        """End it."""
        self.busy.clear()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def count(self, method: str) -> int:
        """How many calls with a method there were."""
        return sum(call.startswith(f"{method} ") for call in self.calls)

    def answer(self, method: str, path: str, document: Any) -> tuple[int, Any]:
        """The status and the document of an answer."""
        self.calls.append(f"{method} {path}")
        resource, _, query = path.partition("?")
        id = resource.removeprefix("/servers/").removesuffix("/lease")
        if method == "POST":
            id = f"{document.get('ip', '127.0.0.1')}:{document['port']}"
            self.servers[id] = document
            return 201, {"id": id, "lease": document.get("lease")}
        if method == "PUT":
            if id not in self.servers:
                return 404, {"detail": "there is no server"}
            return 200, {"lease": self.lease, "renew_after": self.lease / 3}
        self.servers.pop(id, None)
        if not query:
            return 204, None
        until = time.monotonic() + float(query.removeprefix("wait="))
        while self.busy.is_set() and time.monotonic() < until:
            time.sleep(0.01)
        waits = self.busy.is_set()
        return 200, {"drained": not waits, "in_flight": int(waits), "nodes": []}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        management = self

        class Handler(BaseHTTPRequestHandler):
            def respond(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, document = management.answer(
                    self.command, self.path, json.loads(body) if body else None
                )
                content = b"" if document is None else json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_PUT = do_DELETE = respond

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        return Handler
