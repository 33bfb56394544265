"""Where sealed bytes become readable: requests with a provider's keys, answers with a sealer's secrets.

Import-protected: only `coordinator.confidential`, `provider.serving` and `sdk.sealed` may import this package, and
nothing else in `sealing` does. What others need of an opened request they are handed (`OpenedRequest.frame_sealer`).
"""

from hushnet.sealing.opening.answers import FrameOpener, OpenedFrame
from hushnet.sealing.opening.requests import OpenedRequest, open_request

__all__ = ["FrameOpener", "OpenedFrame", "OpenedRequest", "open_request"]
