"""
Exchanges: one request and its response.
"""
