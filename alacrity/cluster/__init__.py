"""
The cluster: several nodes that agree on one pool by Raft.
"""
