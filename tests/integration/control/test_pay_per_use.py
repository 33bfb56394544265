"""A whole coordinator that sells per use, over sockets: an official client without an account, a facilitator, a chain."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from hushnet.coordinator.ledger.books.check import check
from hushnet.foundation.errors import ConfigurationError
from support.control import MODEL, network
from support.x402_chain import FACILITATOR, FakeChain
from support.x402_facilitator import FacilitatorServer
from support.x402_network import PAY_TO, chat_body
from support.x402_peer import Account, client_of, decode_payment_response_header, x402HttpxClient

WALLET = Account.from_key(b"\x01" * 32)


def settings_of(facilitator: FacilitatorServer) -> dict[str, str]:
    return {
        "x402__facilitator": facilitator.url,
        "x402__node": f"{facilitator.url}/rpc",
        "x402__pay_to": PAY_TO,
        "x402__network": "eip155:84532",
        "x402__upto_facilitator": FACILITATOR,
    }


@pytest.mark.parametrize("stream", [False, True])
async def test_a_stranger_pays_and_is_served(tmp_path: Path, stream: bool) -> None:
    chain = FakeChain(lambda: time.time_ns() // 10**9)
    chain.mint(WALLET.address, 1_000_000)
    with FacilitatorServer(chain).running() as facilitator:
        async with network(tmp_path, **settings_of(facilitator)) as running:
            provider = await running.account("provider", scope="provider")
            async with running.provider(tmp_path / "provider", provider.key):
                await running.until(f"/v1/models/{MODEL}")
                base = running.coordinator.base_url
                async with x402HttpxClient(client_of(WALLET), base_url=base, timeout=30) as client:
                    answer = await client.post("/v1/chat/completions", content=chat_body(model=MODEL, stream=stream))
            assert answer.status_code == 200, answer.text
            receipt = decode_payment_response_header(answer.headers["payment-response"])
            assert receipt.transaction in chain.receipts
            assert chain.balance(PAY_TO) > 0
            assert (await running.public.get("/v1/x402/terms", params={"model": MODEL})).status_code == 200
            assert await check(running.coordinator.ledger._store) == []


async def test_a_mistyped_recipient_is_refused_at_start(tmp_path: Path) -> None:
    wrong = {"x402__facilitator": "http://f", "x402__node": "http://n", "x402__pay_to": "0xA1" + "a1" * 18 + "A1"}
    with pytest.raises(ConfigurationError):
        async with network(tmp_path, **wrong):
            pass
