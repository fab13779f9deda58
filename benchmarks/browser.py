"""
A browser's page talks WebSocket through a node: C{python benchmarks/browser.py}.

Needs Chromium (C{apt-get install chromium}) and the packages of the tests. The page
and its WebSocket come from one server behind the node. It sends text, data and more
bytes than the buffers hold, compares what comes back, and says in its close whether
that was all, in order.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path

from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.support.node import Node, call

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--browser", default=shutil.which("chromium"), help="its executable")
    browser = parser.parse_args().browser
    if browser is None:
        sys.exit("there is no Chromium: name one with --browser")
    verdict: list[tuple[int | None, str | None]] = []
    given = threading.Event()

    def serve_page(connection: ServerConnection, request: Request) -> Response | None:
        if request.headers.get("Upgrade"):
            return None
        fields = Headers({"Content-Type": "text/html", "Content-Length": str(len(PAGE))})
        return Response(HTTPStatus.OK, "OK", fields, PAGE)

    def talk(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            for message in connection:
                connection.send(message)
        verdict.append((connection.close_code, connection.close_reason))
        given.set()

    with (
        tempfile.TemporaryDirectory() as directory,
        serve(talk, "127.0.0.1", 0, process_request=serve_page, max_size=None) as server,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        node = Node(Path(directory) / "node")
        try:
            node.started().register(server.socket.getsockname()[1])
            page = subprocess.Popen(
                [
                    *(browser, "--headless", "--no-sandbox", "--disable-gpu"),
                    *(f"--user-data-dir={directory}/browser", "--remote-debugging-port=0"),
                    f"http://127.0.0.1:{node.proxy}/",
                ],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            try:
                given.wait(60)
            finally:
                page.terminate()
                page.wait()
            stats = call(node.management, "GET", "/stats").json()
        finally:
            node.stop(signal.SIGTERM)
    if not verdict or verdict[0][0] != 4000:
        sys.exit(f"the page did not see what it should: {verdict}, {stats}")
    print(f"all messages came back to {verdict[0][1]}; {stats}")


if __name__ == "__main__":
    main()
