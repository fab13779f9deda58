"""
The data path: requests in from clients, on to servers, and their answers back.

L{ClientConnection<alacrity.proxy.front.connection>} reads requests,
L{Exchange<alacrity.proxy.exchange.exchange>} takes one of them to a server and its
response back, L{ServerConnection<alacrity.proxy.upstream.connection>} talks to the server.
Which server, says the L{Balancer<alacrity.proxy.upstream.balancer>}, out of what it is
told of the pool.
"""
