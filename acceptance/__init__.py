"""
Scripts that start real nodes, break things and see that the promises hold: C{README.md}
lists them, C{python -m acceptance} runs them all.
"""
