"""
The requests of the load, and the script with which wrk makes them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import msgspec

from acceptance.lab.calls import LOOPBACK
from benchmarks.origins import POST, VARYING, least_body

BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
    "Accept-Language": "en-GB,en;q=0.7,de;q=0.3",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Connection": "keep-alive",
    "Referer": "https://www.example.com/articles/2024/how-to-measure-a-proxy.html",
    "Cookie": "session=5f2b9c1e7a3d4e60b8f1c2d3e4a5b6c7; theme=dark; consent=essential",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "same-origin",
}
"""The header fields of a browser."""

_REPORT = """\
done = function(summary, latency, requests)
    io.write(string.format(
        '\\nREPORT {"requests": %d, "duration": %d, "bytes": %d, "p50": %f, "p99": %f, ' ..
        '"errors": {"connect": %d, "read": %d, "write": %d, "timeout": %d, "status": %d}}\\n',
        summary.requests, summary.duration, summary.bytes,
        latency:percentile(50), latency:percentile(99),
        summary.errors.connect, summary.errors.read, summary.errors.write,
        summary.errors.timeout, summary.errors.status))
end
"""

_SAME = """\
wrk.method = {method}
wrk.body = {body}
"""

# A quoted line end is one in Lua, too. Each request has a number, its id and cookie are random.
_OTHER_EACH_TIME = """\
math.randomseed(os.time())
local number, random, format = 0, math.random, string.format
request = function()
    number = number + 1
    return format({head}, number, number % 977,
        random(0, 0x7fffffff), number, random(0, 0x7fffffff), random(0, 0x7fffffff))
end
"""


class Request(msgspec.Struct, frozen=True):
    """
    A request that is made again and again.

    @ivar path: one of the origin's.
    @ivar fields: of its head.
    @ivar body: of zeros, of so many bytes, if it is not zero; then it is a POST.
    @ivar varies: it has another path, C{X-Request-Id} and C{Cookie} each time, and the
        origin answers with another C{ETag}, C{Last-Modified} and length.
    """

    path: str
    fields: Mapping[str, str] = {}
    body: int = 0
    varies: bool = False

    @property
    def method(self) -> str:
        """
        POST if it has a body.
        """
        return "POST" if self.body else "GET"

    @property
    def least_body(self) -> int:
        """
        The size of the answer's body; if it varies, the least one.
        """
        return least_body(self.path)

    @property
    def is_chunked(self) -> bool:
        """
        True if the answer must come in chunks.
        """
        return self.path == "/chunked"

    def accepts(self, size: int) -> bool:
        """
        Tell whether the answer's body may be of that size.
        """
        return size >= self.least_body if self.varies else size == self.least_body

    def script(self) -> str:
        """
        The script for wrk, which also prints the outcome.
        """
        if self.varies:
            return _OTHER_EACH_TIME.format(head=_quoted(self._varying_head())) + _REPORT
        body = _quoted("0" * self.body) if self.body else "nil"
        return _SAME.format(method=_quoted(self.method), body=body) + _REPORT

    def head(self) -> bytes:
        """
        The head as it is sent where nothing varies.
        """
        lines = [f"{self.method} {self.path} HTTP/1.1", f"Host: {LOOPBACK}"]
        lines += [f"{name}: {value}" for name, value in self.fields.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def _varying_head(self) -> str:
        """
        The head as a format: with a number, a page, two numbers for the id and two for the
        cookie.
        """
        fields = {name: value.replace("%", "%%") for name, value in self.fields.items()}
        cookie = fields.pop("Cookie", "").partition("; ")[2]
        lines = [
            f"GET {self.path}/items/%d?page=%d HTTP/1.1",
            f"Host: {LOOPBACK}",
            "X-Request-Id: %08x-%08x",
            "Cookie: session=%08x%08x" + (f"; {cookie}" if cookie else ""),
            *(f"{name}: {value}" for name, value in fields.items()),
        ]
        return "\r\n".join(lines) + "\r\n\r\n"


BARE = Request("/100")
FROM_BROWSER = Request("/100", BROWSER)
VARIES = Request(VARYING, BROWSER, varies=True)
SIXTEEN_KIB = Request("/16k")
CHUNKED = Request("/chunked")
POSTED = Request(POST, BROWSER, body=1024)
CLOSES = Request("/100", {"Connection": "close"})
LARGE = Request("/100m")


def _quoted(text: str) -> str:
    """
    A text of ASCII as a string of Lua.
    """
    return json.dumps(text)
