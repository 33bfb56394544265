"""Joins everything: settings in, a coordinator out. The only place of the coordinator that knows all the others."""

from hushnet.coordinator.app.build import build
from hushnet.coordinator.app.coordinator import Coordinator
from hushnet.coordinator.app.initialise import (
    create_operator_key,
    initialise,
    operator_keys,
    prepare_files,
    revoke_operator_key,
)
from hushnet.coordinator.app.workers import Place

__all__ = [
    "Coordinator",
    "Place",
    "build",
    "create_operator_key",
    "initialise",
    "operator_keys",
    "prepare_files",
    "revoke_operator_key",
]
