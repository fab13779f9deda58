"""
The methods by which one of a set of servers is chosen, a module each.
"""
