"""
The tests. They run under pytest and under trial alike.
"""

from hypothesis import settings

# How long an example takes says more about the machine than about the code.
settings.register_profile("alacrity", deadline=None)
settings.load_profile("alacrity")
