"""The local HTTP API: `server` is the shell, `routes` and `streams` answer, the views and models are pure.

Nothing is imported here: the client shares the problem documents, and must not pay for a server.
"""
