"""
Servers, and connections to them.
"""
