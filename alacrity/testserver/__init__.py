"""
An HTTP server to try the proxy with: C{python -m alacrity.testserver --register URL}.

It answers with its name and the request that it received, fails or delays on demand,
registers itself with Alacrity, and deregisters itself when it is stopped.
"""
