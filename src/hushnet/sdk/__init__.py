"""The consumer's side: clients, verification policies, the local sealing proxy.

It never imports the coordinator or the provider. `sealed.py` alone opens answers; `session.py` and `answers.py` decide
without I/O; `client.py`, `async_client.py` and `proxy.py` are shells around them.
"""
