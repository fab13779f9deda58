"""
The data path: requests in from clients, on to servers, and their answers back.

L{front<alacrity.proxy.front>} reads requests from clients and writes responses to them,
L{exchange<alacrity.proxy.exchange>} takes one request to a server and its response back, and
L{upstream<alacrity.proxy.upstream>} has the servers, the choice among them, and the connections
to them. Each imports only those named after it, and the modules beside this one: the
interfaces between them, the events that they tell, the deadlines.

It learns of the pool by being told of its changes, and never waits for anything else of a node.
"""
