"""Pay per use, joined: the door, the till, what follows payments up, and the caller that settles what was served.

Imported only where it is on: signatures need the extra `payments`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from hushnet.coordinator.api.money.x402 import PayPerUse
from hushnet.coordinator.ledger.faults import FaultHook, no_faults
from hushnet.coordinator.ledger.service import Ledger
from hushnet.coordinator.ledger.transaction import MoneyStore
from hushnet.coordinator.payments.calls import Caller
from hushnet.coordinator.payments.x402.authorised import ACTION, RAIL, Authorised, SettleCall
from hushnet.coordinator.payments.x402.chain import RpcChain
from hushnet.coordinator.payments.x402.facilitator import Facilitator
from hushnet.coordinator.payments.x402.keeper import PaymentKeeper
from hushnet.coordinator.payments.x402.networks import NETWORKS
from hushnet.coordinator.payments.x402.purchases import Budgets, PurchaseLimits, Purchases
from hushnet.coordinator.payments.x402.signature import is_checksum_right
from hushnet.coordinator.payments.x402.terms import Offer
from hushnet.coordinator.serving.service import RequestService
from hushnet.coordinator.serving.store import Tariffs
from hushnet.coordinator.settings import HttpSettings, X402Settings
from hushnet.foundation.clock import Clock
from hushnet.foundation.errors import ConfigurationError

_LOG = logging.getLogger(__name__)

CHAT_PATH = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class PayPerUseParts:
    """`door` goes to the chat endpoint and has routes; `callers` go to the outbox; `run` is the work in the background."""

    door: PayPerUse
    callers: dict[tuple[str, str], Caller]
    keeper: PaymentKeeper
    facilitator: Facilitator
    chain: RpcChain

    async def run(self) -> None:
        """Say what the facilitator lacks, once, then follow payments up until cancelled."""
        for lacking in await self.facilitator.lacks():
            _LOG.error("the facilitator does not settle what is offered", extra={"scheme": lacking})
        await self.keeper.run()

    async def aclose(self) -> None:
        await self.facilitator.aclose()
        await self.chain.aclose()


def build_pay_per_use(
    settings: X402Settings,
    http: HttpSettings,
    *,
    store: MoneyStore,
    ledger: Ledger,
    service: RequestService,
    tariffs: Tariffs,
    clock: Clock,
    base_url: str,
    budgets: Budgets | None = None,
    limits: PurchaseLimits | None = None,
    reach: FaultHook = no_faults,
) -> PayPerUseParts:
    """Join the parts; `base_url` is how clients reach this coordinator. Raises `ConfigurationError` for a mistyped address."""
    for name, address in (("pay_to", settings.pay_to), ("upto_facilitator", settings.upto_facilitator)):
        if address and not is_checksum_right(address):
            raise ConfigurationError(
                f"setting x402.{name} is mistyped", hint="the capitals of the address are its checksum (EIP-55)"
            )
    upto, resource = settings.upto_facilitator.lower(), base_url.rstrip("/") + CHAT_PATH
    offer = Offer(NETWORKS[settings.network], settings.pay_to.lower(), settings.window_s, resource, upto)
    facilitator = Facilitator(
        settings.facilitator,
        offer,
        token=settings.facilitator_token,
        verify_s=settings.verify_s_max,
        settle_s=settings.settle_s_max,
    )
    chain = RpcChain(settings.node, timeout_s=settings.verify_s_max, blocks_back=settings.node_blocks_back)
    purchases = Purchases(
        store,
        clock,
        offer=offer,
        facilitator=facilitator,
        chain=chain,
        balances=ledger,
        authoriser=Authorised(store, amount_max=settings.upto_max) if upto else None,
        budgets=budgets,
        limits=limits,
        reach=reach,
    )
    door = PayPerUse(service, purchases, ledger, tariffs, offer=offer, clock=clock, settings=settings, http=http)
    callers: dict[tuple[str, str], Caller] = {(RAIL, ACTION): SettleCall(store, facilitator, chain)}
    return PayPerUseParts(door, callers, PaymentKeeper(store, clock, chain), facilitator, chain)
