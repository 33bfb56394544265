"""The operator's interface: accounts, keys, prices and providers (accounts.py), and what the router sees (routing.py)."""

from hushnet.coordinator.api.admin.accounts import AdminApi
from hushnet.coordinator.api.admin.routing import AdminRoutingApi

__all__ = ["AdminApi", "AdminRoutingApi"]
