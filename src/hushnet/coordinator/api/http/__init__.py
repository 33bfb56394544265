"""The HTTP edge below every route: one listener, connections inside limits, and the direct line of streamed answers.

listener.py   bind, serve, drain
protocol.py   uvicorn's httptools protocol with the limits that it lacks
direct.py     chunks straight to the transport
visitors.py   how often anybody may come without a key
reader.py     what the kernel knows of a consumer's reading
"""

from hushnet.coordinator.api.http.listener import HttpListener, bind, bind_error

__all__ = ["HttpListener", "bind", "bind_error"]
