"""
HTTP/1.1 (RFC 9110, RFC 9112) without I/O: what was said, and how to say it on.

L{framing<alacrity.http1.framing>} cuts bytes into messages,
L{parser<alacrity.http1.parser>} makes of them the values of
L{messages<alacrity.http1.messages>}; L{forwarding<alacrity.http1.forwarding>}
turns those into the bytes that go to the other side;
L{responses<alacrity.http1.responses>} has the proxy's own words. Field names
and what they mean to a proxy are in L{fields<alacrity.http1.fields>}.
"""
