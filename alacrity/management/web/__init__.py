"""
HTTP for the management API: requests and connections within limits, answers, and the refusal of
callers without permission. No code here depends on a particular call.
"""
