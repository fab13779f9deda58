"""
Real processes, nodes, clusters, networks and loads: shared by the acceptance scripts, the
benchmarks and the tests of whole nodes.
"""
