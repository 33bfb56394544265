"""The HTTP and WebSocket edges: one file an audience; `problems.py` is the one table from error to status.

Beside `storage`, above `serving`: it parses, calls a service, and renders; it decides nothing.
"""
