"""
Simulated clusters that live through what a script says, beside those that live by chance.
"""
