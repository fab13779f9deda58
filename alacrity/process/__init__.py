"""
The operating-system process: launch, background, pid file, user, signals.
"""
