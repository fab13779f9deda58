"""
Measurements of speed, run by hand from the checkout: C{README.md} lists them.
"""
