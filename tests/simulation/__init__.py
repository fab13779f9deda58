"""
A cluster in one process, on a fake clock, a fake network and fake disks, by one seed.

C{python -m tests.simulation --help} says how to run it.
"""
