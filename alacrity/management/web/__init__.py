"""
HTTP for the management API: bounded requests and connections, and who may call.
"""
