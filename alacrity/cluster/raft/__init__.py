"""
The consensus engine: PySyncObj with guards.
"""
