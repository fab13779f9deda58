"""
Sockets and addresses: transports on uvloop, listening, connecting, endpoint descriptions,
host names, and files that hold secrets.
"""
