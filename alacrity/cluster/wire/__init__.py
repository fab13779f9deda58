"""
Connections between the nodes of a cluster: proof of identity, sealed frames, reconnection.
"""
