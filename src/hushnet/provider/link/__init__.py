"""The provider's end of the link: find the coordinator, dial, introduce the agent, carry attempts, reconnect.

The rules are in `wire.provider_session`; what is here is the I/O around them.
"""

from hushnet.provider.link.contract import AgentDescription, AttemptHandler, AttemptWriter
from hushnet.provider.link.dialling import REJECTED_FOR_GOOD, ProviderLink

__all__ = ["REJECTED_FOR_GOOD", "AgentDescription", "AttemptHandler", "AttemptWriter", "ProviderLink"]
