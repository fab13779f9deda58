"""
Deliberate faults in the cluster's code, each of which the simulation or a test must find.

C{python -m tests.mutations --help} says how to run them.
"""
