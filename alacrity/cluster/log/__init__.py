"""
The log of the cluster on disk.
"""
