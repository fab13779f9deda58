"""
The JSON documents of the management API.
"""
