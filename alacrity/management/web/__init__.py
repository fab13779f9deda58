"""
HTTP for the management API: requests and connections within bounds, answers, and the
refusal of callers that may not call. Nothing here knows of a particular call.
"""
