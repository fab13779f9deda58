"""
Fuzzers (atheris). See C{docs/security.md} for how to run them.
"""
