"""
HTTP/1.1 (RFC 9110, RFC 9112) without I/O: reading of messages, and writing of those that
are passed on.

L{framing<alacrity.http1.framing>} splits bytes into messages, with
L{chunks<alacrity.http1.chunks>} for chunked bodies; L{parser<alacrity.http1.parser>}
reads heads into the values of L{messages<alacrity.http1.messages>};
L{forwarding<alacrity.http1.forwarding>} writes the heads that go to the other side;
L{responses<alacrity.http1.responses>} makes the proxy's own responses. Field names
and their meaning to a proxy are in L{fields<alacrity.http1.fields>}.
"""
