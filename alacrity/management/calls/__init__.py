"""
The calls of the management API.
"""
