"""Wallets as the operator sees them: who may pay here, and who may not any more.

A wallet whose payment was lost is barred by itself (`authorised.py`); a person bars and unbars any. One that is barred buys
nothing with a new payment; what is under way goes on, and its credit stays its own.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from hushnet.coordinator.ledger.ids import ID_MAX
from hushnet.coordinator.ledger.transaction import Transaction, View
from hushnet.coordinator.payments.x402.book import wallet_of
from hushnet.coordinator.payments.x402.model import Wallet, X402Payment
from hushnet.foundation.errors import RequestError

_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII)
_REQUEST: Final = re.compile(r"[0-9]{1,19}", re.ASCII)


def payer_named(view: View, name: str) -> str:
    """Return the address that is named by itself or by a request that it paid, as findings name it.

    Raises `RequestError` (`out_of_range`) when it is neither.
    """
    if _ADDRESS.fullmatch(name):
        return name.lower()
    request = int(name) if _REQUEST.fullmatch(name) else 0
    if 0 < request <= ID_MAX and (found := view.rows(X402Payment).find(request=request, limit=1)):
        return found[0].payer
    raise RequestError("a wallet is named by its address, or by a request that it paid", code="out_of_range")


def seen(view: View, payer: str) -> Wallet | None:
    """Return a wallet, None when it has never paid and was never barred."""
    return next(iter(view.rows(Wallet).find(payer=payer, limit=1)), None)


def set_barred(tx: Transaction, payer: str, is_barred: bool) -> Wallet:
    """Bar a wallet or let it pay again, also one that has not been here yet; the same again changes nothing."""
    wallet = wallet_of(tx, payer)
    if (wallet.barred_ms is not None) != is_barred:
        wallet = replace(wallet, barred_ms=tx.now_ms if is_barred else None)
        tx.rows(Wallet).save(wallet)
    return wallet
