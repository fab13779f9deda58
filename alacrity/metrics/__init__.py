"""
Counters.
"""
