"""
The persistent state of a node: the cluster's log on disk.
"""
