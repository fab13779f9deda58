"""
Sockets: transports, endpoint descriptions, connecting, addresses, guarded files.
"""
