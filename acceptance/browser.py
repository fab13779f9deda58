"""
A page in a browser that talks WebSocket through a node: C{python -m acceptance.browser}.

The page and its WebSocket come from one server behind the node. It sends text, data and
more bytes than the buffers hold, compares the answers, and says in its close whether all
came back, in order. The exit status is 1 if they did not.

With Debian's C{chromium}, and the packages of the tests.
"""

from __future__ import annotations

import shutil
import threading
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory

from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from acceptance.lab.nodes import Node
from acceptance.lab.processes import Process, exit_with
from acceptance.lab.reports import Report
from acceptance.lab.scenarios import parser_of
from acceptance.lab.waiting import Broken

PAGE = b"""<!doctype html><title>WebSocket</title><script>
const sent = ["hello", "", "\\u00fc".repeat(1000), "x".repeat(1 << 20)];
for (let i = 0; i < 1000; i++) sent.push("message " + i);
const socket = new WebSocket(`ws://${location.host}/talk`);
const got = [];
socket.binaryType = "arraybuffer";
socket.onopen = () => { sent.forEach(each => socket.send(each)); socket.send(new Uint8Array(1 << 22)); };
socket.onmessage = event => {
  got.push(event.data);
  if (event.data instanceof ArrayBuffer) {
    const same = sent.every((each, i) => got[i] === each) && got.length === sent.length + 1;
    socket.close(same && event.data.byteLength === 1 << 22 ? 4000 : 4001, navigator.userAgent);
  }
};
socket.onerror = () => new WebSocket(`ws://${location.host}/failed`);
</script>"""


ALL_IN_ORDER = 4000
"""The status with which the page closes, if all came back."""


def main() -> int:
    """
    Read the command line, do what it says, and return the exit status.
    """
    parser = parser_of(__doc__)
    parser.add_argument("--browser", default=shutil.which("chromium"), help="its executable")
    browser = parser.parse_args().browser
    if browser is None:
        raise Broken("there is no Chromium: apt-get install chromium, or name one with --browser")
    closes: list[tuple[int | None, str | None]] = []
    closed = threading.Event()

    def serve_page(connection: ServerConnection, request: Request) -> Response | None:
        if request.headers.get("Upgrade"):
            return None
        fields = Headers({"Content-Type": "text/html", "Content-Length": str(len(PAGE))})
        return Response(HTTPStatus.OK, "OK", fields, PAGE)

    def talk(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            for message in connection:
                connection.send(message)
        closes.append((connection.close_code, connection.close_reason))
        closed.set()

    report = Report()
    with (
        TemporaryDirectory(prefix="alacrity-browser-") as directory,
        serve(talk, "127.0.0.1", 0, process_request=serve_page, max_size=None) as server,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Node(Path(directory) / "node") as node:
            node.started().register(server.socket.getsockname()[1])
            options = ("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0")
            profile = f"--user-data-dir={directory}/browser"
            url = f"http://127.0.0.1:{node.proxy}/"
            with Process([browser, *options, profile, url], Path(directory)):
                closed.wait(60)
            stats = node.document("/stats")
    report.step(f"the page closed with {closes}; {stats}")
    if [status for status, _ in closes] != [ALL_IN_ORDER]:
        report.fail("not all came back, in order")
    return int(report.failed)


if __name__ == "__main__":
    exit_with(main)
