"""
Judgement of servers by the requests that this node sends them, and the retries that follow.
"""
