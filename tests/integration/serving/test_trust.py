"""Who may serve: registration, fresh challenges, rotation, and an account that only the token decides."""

from __future__ import annotations

from hushnet.coordinator.fleet.link import Admitted, Rejected
from hushnet.sealing.keyring import Keyring
from hushnet.sealing.statements import issue_statement
from support.fleet import NETWORK, Network, ScriptedProvider, document_of, says
from support.sealing import Ed25519Signer


async def test_a_provider_without_a_token_is_not_admitted(network: Network) -> None:
    provider = ScriptedProvider(network, account=network.new_account())

    outcome = await provider.join(token="made-up")

    assert outcome == Rejected("invalid_api_key", outcome.hint)
    assert network.serving.fleet.get(provider.provider_id) is None


async def test_an_account_id_is_never_taken_from_the_provider(network: Network) -> None:
    mine, victim = network.new_account(), network.new_account()
    provider = ScriptedProvider(network, account=victim, part=says("hi"))
    assert isinstance(await provider.join(token=f"provider-{mine}"), Admitted)
    key = await network.consumer()

    exchange = await network.chat(key=key).finished()

    assert (await network.usage_of(exchange)).usage.provider == mine
    assert (await network.ledger.balance(mine)).earnings == 11
    assert (await network.ledger.balance(victim)).earnings == 0


async def test_a_wrong_signature_over_the_nonce_is_not_admitted(network: Network) -> None:
    provider = ScriptedProvider(network, account=network.new_account())

    outcome = await provider.join(signature=Ed25519Signer().sign(b"something else"))

    assert isinstance(outcome, Rejected)
    assert outcome.code == "challenge_failed"


async def test_a_statement_of_another_network_is_not_admitted(network: Network) -> None:
    provider = ScriptedProvider(network, account=network.new_account())
    provider.statement = Keyring(provider.signer, network="elsewhere").rotate(network.now)

    outcome = await provider.join()

    assert isinstance(outcome, Rejected)
    assert outcome.code == "statement_wrong_network"


async def test_an_older_statement_than_one_shown_before_is_not_admitted(network: Network) -> None:
    provider = await network.provider()
    old = provider.statement
    network.clock.advance(5)
    provider.rotate()
    provider.close("closing")
    again = ScriptedProvider(network, account=provider.account)
    again.signer, again.statement = provider.signer, old

    outcome = await again.join()

    assert isinstance(outcome, Rejected)
    assert outcome.code == "statement_rollback"


async def test_a_provider_that_registers_again_replaces_its_old_link(network: Network) -> None:
    old = await network.provider()
    key = await network.consumer()
    exchange = network.chat(key=key)
    await old.attempt()
    new = ScriptedProvider(network, account=old.account, part=says("new link"))
    new.signer, new.keyring, new.statement = old.signer, old.keyring, old.statement

    assert isinstance(await new.join(), Admitted)

    assert old.closed == "replaced"
    assert (await exchange.finished()).text == "new link"
    assert network.serving.fleet.get(new.provider_id).link is new


async def test_a_provider_that_is_challenged_every_five_minutes_and_answers_stays(network: Network) -> None:
    provider = await network.provider(part=says("hi"))
    key = await network.consumer()

    for _ in range(4):
        network.advance(300)
        provider.rotate()

    assert len(provider.challenges) == 4
    assert len(set(provider.challenges)) == 4
    assert (await network.chat(key=key).finished()).status == 200


async def test_three_missed_challenges_take_a_provider_off_the_routes_and_an_answer_puts_it_back(
    network: Network,
) -> None:
    provider = await network.provider(part=says("hi"))
    key = await network.consumer()
    provider.ignores_challenges = True
    network.advance(300)
    network.advance(30)
    network.advance(30)
    assert (await network.chat(key=key).finished()).status == 200

    network.advance(30)
    away = await network.chat(key=key).finished()
    provider.ignores_challenges = False
    network.advance(30)
    back = await network.chat(key=key).finished()

    assert (away.status, back.status) == (503, 200)


async def test_a_wrong_answer_takes_a_provider_off_the_routes_at_once(network: Network) -> None:
    provider = await network.provider(part=says("hi"))
    key = await network.consumer()
    provider.ignores_challenges = True
    network.advance(300)
    gate = network.serving.gate

    gate.challenge_replied(provider.provider_id, provider.challenges[0], bytes(64))
    away = await network.chat(key=key).finished()
    gate.challenge_replied(provider.provider_id, provider.challenges[0], provider.sign(provider.challenges[0]))
    still = await network.chat(key=key).finished()

    assert (away.status, still.status) == (503, 503)


async def test_a_made_up_or_repeated_reply_changes_nothing(network: Network) -> None:
    provider = await network.provider(part=says("hi"))
    key = await network.consumer()
    gate = network.serving.gate
    network.advance(300)

    gate.challenge_replied(provider.provider_id, b"x" * 32, bytes(64))
    gate.challenge_replied(provider.provider_id, provider.challenges[0], bytes(64))

    assert (await network.chat(key=key).finished()).status == 200


async def test_a_challenge_binds_the_statement_in_force(network: Network) -> None:
    provider = await network.provider()
    provider.ignores_challenges = True
    network.advance(300)
    stale = provider.sign(provider.challenges[0])
    network.clock.advance(1)
    provider.rotate()

    network.serving.gate.challenge_replied(provider.provider_id, provider.challenges[0], stale)

    assert not network.serving.fleet.get(provider.provider_id).is_routable


async def test_a_statement_that_runs_out_takes_the_provider_off_the_routes(network: Network) -> None:
    provider = await network.provider(part=says("hi"))
    key = await network.consumer()

    for _ in range(13):
        network.advance(300)
    away = await network.chat(key=key).finished()
    provider.rotate()
    back = await network.chat(key=key).finished()

    assert (away.status, back.status) == (503, 200)


async def test_a_rotation_that_does_not_verify_changes_nothing(network: Network) -> None:
    provider, other = await network.provider(part=says("hi")), await network.provider(part=says("hi"))
    before = network.serving.fleet.get(provider.provider_id).statement
    network.serving.gate.statement_changed(provider.provider_id, document_of(other.statement.to_json_object()))

    live = network.serving.fleet.get(provider.provider_id)
    assert live.statement is before
    assert live.findings["statement_wrong_provider"] == 1


async def test_a_draining_provider_gets_no_more_requests_and_finishes_its_own(network: Network) -> None:
    leaving = await network.provider(decode_tokens_s=400.0)
    key = await network.consumer()
    first = network.chat(key=key)
    attempt = await leaving.attempt()

    network.serving.gate.draining(leaving.provider_id)
    await network.provider(part=says("other"))
    second = await network.chat(key=key).finished()
    says("last")(attempt)

    assert second.text == "other"
    assert (await first.finished()).text == "last"


async def test_a_provider_that_endorses_anothers_keys_takes_nothing_away_when_it_leaves(network: Network) -> None:
    honest = await network.provider(part=says("hi"))
    sealed = network.seal(honest)
    thief = ScriptedProvider(network, account=network.new_account(), decode_tokens_s=1)
    thief.statement = issue_statement(
        thief.signer,
        network=NETWORK,
        keys=[live.pair for live in honest.keyring._live.values()],
        receipt_public_key=None,
        issued_at=network.now,
        expires_at=network.now + 60,
        serial=1,
    )
    assert isinstance(await thief.join(), Admitted)

    thief.close("gone")
    exchange = await network.send_sealed(sealed, key=await network.consumer()).finished()

    assert exchange.status == 200
    assert len(honest.served) == 1
