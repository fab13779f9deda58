"""
Connections from clients.
"""
