"""
Logs, clocks, and the collector of cycles.
"""
