"""What `hush chat` says beside the answer: who can read, what was proved, how fast it was."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from hushnet.cli import console
from hushnet.cli.chat import Conversation
from hushnet.foundation.redaction import Secret
from hushnet.sdk.client import Client
from hushnet.sdk.policy import VerificationPolicy
from hushnet.sdk.settings import ConsumerSettings
from support.sealing_peer import Peer, Provider, manual_clock


@pytest.fixture(autouse=True)
def _fresh_console() -> Iterator[None]:
    console.err.cache_clear()
    yield
    console.err.cache_clear()


def talk(peer: Peer, tmp_path: Path, *, floor: str | None = None) -> Conversation:
    settings = ConsumerSettings("http://127.0.0.1:8470", Secret("hk_user_1_secret"), "hushnet-local", tmp_path)
    http = httpx.Client(transport=httpx.MockTransport(peer))
    client = Client(settings=settings, http_client=http, policy=VerificationPolicy(floor=floor))
    client.session.clock = manual_clock()
    return Conversation(client, "tiny")


@pytest.mark.parametrize(("providers", "said"), [(1, "by 1 provider,"), (2, "by 2 providers,"), (5, "by 3 providers,")])
def test_the_number_of_readers_is_the_real_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, providers: int, said: str
) -> None:
    talk(Peer(providers=[Provider() for _ in range(providers)]), tmp_path).announce()
    shown = capsys.readouterr().err
    assert said in shown


def test_without_a_floor_statements_are_verified_all_the_same(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    talk(Peer(), tmp_path, floor="none").announce()
    shown = capsys.readouterr().err
    assert "statements are always verified" in shown
    assert "none or better" not in shown


def test_a_short_answer_has_a_provider_and_a_verified_trust_and_no_speed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    talk(Peer(), tmp_path, floor="none").ask("hello")
    shown = capsys.readouterr().err
    assert "5 + 2 tokens" in shown
    assert re.search(r"provider \w{16} \(self_signed\)", shown)
    assert "tokens/s" not in shown
