"""The commands that show money and prove the books, against a coordinator that runs and against its database."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from hushnet.cli.main import build
from hushnet.coordinator.ledger.books.days import DAY_MS, day_of, day_text
from hushnet.coordinator.ledger.chart import Kind, operator_account, user_account
from hushnet.coordinator.ledger.model import Close, CloseKind, Credit, Held, Hold, Usage, UsageOutcome
from hushnet.foundation.clock import ManualClock, SystemClock
from hushnet.foundation.ids import AccountId, ApiKeyId, ModelId
from support.control import Account, network


@dataclass
class Place:
    """A home whose coordinator runs, with a consumer that paid and a provider that earned, two days ago."""

    home: Path
    url: str
    consumer: Account
    provider: Account
    day: int

    async def hush(self, *arguments: str, key: str = "") -> Result:
        """Run a command as a person would; it must not fail."""
        result = await self.tried(*arguments, key=key)
        assert result.exit_code == 0, (result.output, result.exception)
        return result

    async def tried(self, *arguments: str, key: str = "") -> Result:
        given = [*arguments, "--home", str(self.home)] if arguments[:2] != ("ledger", "verify") else [*arguments]
        if key:
            given += ["--api-key", key, "--base-url", self.url]
        return await asyncio.to_thread(CliRunner().invoke, build(given), given)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    clock = ManualClock(SystemClock().now_ms() - 2 * DAY_MS)
    async with network(tmp_path, clock=clock) as net:
        consumer = await net.account("ann", credit_usd="1")
        provider = await net.account("bob")
        ledger = net.coordinator.ledger
        owner = AccountId(consumer.id)
        for _ in range(3):
            hold = Hold(ledger.next_request_id(), owner, 1_000, clock.now_ms() + 60_000)
            held = await ledger.hold(hold)
            assert isinstance(held, Held)
            use = Usage(
                ApiKeyId(int(consumer.key_id, 36)), ModelId("org/[m]"), UsageOutcome.COMPLETED,
                provider=AccountId(provider.id), machine="cd" * 32, tokens_in=1_234, tokens_out=5,
            )  # fmt: skip
            credits_ = (
                Credit(user_account(provider.id, Kind.EARNINGS), 400),
                Credit(operator_account(Kind.REVENUE), 7),
            )
            await ledger.close(Close(hold.id, owner, held, CloseKind.POST, use, credits_))
        day = day_of(clock.now_ms())
        clock.advance(2 * DAY_MS / 1000)
        await ledger.renew()
        assert net.coordinator.keeper is not None
        await net.coordinator.keeper.close_due()
        yield Place(tmp_path, net.coordinator.base_url, consumer, provider, day)


async def test_usage_is_shown_to_people_and_to_scripts(place: Place) -> None:
    key = place.consumer.key
    shown = (await place.hush("usage", "--by", "day,model", key=key)).output
    assert day_text(place.day) in shown
    assert "org/[m]" in shown
    assert "$0.001221" in shown
    assert "3,702" in shown
    told = json.loads((await place.hush("usage", "--by", "key", "--json", key=key)).stdout)
    assert told["totals"]["cost_micro_usd"] == 1221
    (row,) = csv.DictReader(io.StringIO((await place.hush("usage", "--csv", key=key)).stdout))
    assert (row["day"], row["cost_micro_usd"]) == (day_text(place.day), "1221")
    listed = json.loads((await place.hush("usage", "--requests", "2", "--json", key=key)).stdout)
    assert [each["cost_micro_usd"] for each in listed["data"]] == [407, 407]
    assert "completed" in (await place.hush("usage", "--requests", "200", key=key)).output


async def test_earnings_are_shown_with_what_can_be_withdrawn(place: Place) -> None:
    shown = (await place.hush("earnings", "--by", "machine", key=place.provider.key)).output
    assert "cdcdcdcdcdcd" in shown
    assert "withdrawable $0.0012" in shown
    told = json.loads((await place.hush("earnings", "--json", key=place.provider.key)).stdout)
    assert told["totals"]["earned_micro_usd"] == 1200


async def test_a_statement_is_written_once_and_whole(place: Place) -> None:
    target = place.home / "statement.csv"
    await place.hush("statement", "-o", str(target), key=place.consumer.key)
    lines = list(csv.DictReader(io.StringIO(target.read_text())))
    assert lines[-1]["type"] == "closing balance"
    assert lines[-1]["promo"] == "0.998779"
    assert target.stat().st_mode & 0o777 == 0o600
    again = await place.tried("statement", "-o", str(target), key=place.consumer.key)
    assert isinstance(again.exception, FileExistsError)
    printed = (await place.hush("statement", key=place.consumer.key)).stdout
    assert [line["type"] for line in csv.DictReader(io.StringIO(printed))] == [line["type"] for line in lines]
    from_books = await place.hush("ledger", "statement", str(place.consumer.id))
    assert "0.998779" in from_books.stdout
    refused = await place.tried("statement", "--from", "soon", "-o", str(place.home / "b.csv"), key=place.consumer.key)
    assert refused.exit_code == 1
    assert not (place.home / "b.csv").exists()


async def test_the_books_are_shown_proved_exported_and_verified(place: Place, tmp_path: Path) -> None:
    checked = await place.hush("ledger", "check")
    assert "the books balance" in checked.output
    trial = await place.hush("ledger", "trial", "--day", day_text(place.day))
    assert "$0.00" in trial.output.splitlines()[-1]
    root = tmp_path / "root.json"
    root.write_text((await place.hush("ledger", "root")).stdout)
    key = json.loads(root.read_text())["public_key"]
    assert "verified" in (await place.hush("ledger", "verify", str(root), "--public-key", key)).output
    proof = tmp_path / "proof.json"
    for arguments, api_key in (
        (("--day", day_text(place.day)), place.consumer.key),
        (("--owner", str(place.consumer.id)), ""),
    ):
        proof.write_text((await place.hush("ledger", "prove", *arguments, key=api_key)).stdout)
        assert "$0.998779 of USD-promo is in it" in (await place.hush("ledger", "verify", str(proof))).output
    altered = json.loads(proof.read_text())
    altered["proofs"][0]["balance"] += 1
    proof.write_text(json.dumps(altered))
    refused = await place.tried("ledger", "verify", str(proof))
    assert refused.exit_code == 1
    assert getattr(refused.exception, "error_code", "") == "proof_failed"
    folder = tmp_path / "books"
    assert "ledger_transfers.csv" in (await place.hush("ledger", "export", str(folder))).output
    assert "the books balance" in (await place.hush("ledger", "verify", str(folder))).output
    transfers = folder / "ledger_transfers.csv"
    transfers.write_text(transfers.read_text().replace(",400,", ",401,", 1))
    broken = await place.tried("ledger", "verify", str(folder))
    assert broken.exit_code == 1
    assert "B8" in broken.output


async def test_a_day_that_is_not_closed_and_no_day_are_told_apart(place: Place) -> None:
    missing = await place.tried("ledger", "trial", "--day", "2025-01-01")
    assert getattr(missing.exception, "error_code", "") == "day_not_closed"
    assert (await place.tried("ledger", "trial", "--day", "today")).exit_code == 2


async def test_days_are_closed_from_the_command_line_while_nothing_runs(tmp_path: Path) -> None:
    clock = ManualClock(SystemClock().now_ms() - 2 * DAY_MS)
    async with network(tmp_path, clock=clock) as net:
        await net.account("ann", credit_usd="3")
        running = Place(tmp_path, "", *[await net.account("bob")] * 2, 0)
        held = await running.tried("ledger", "close")
        assert "another process" in str(held.exception)
    resting = Place(tmp_path, "", running.consumer, running.provider, 0)
    closed = json.loads((await resting.hush("ledger", "close", "--json")).stdout)
    assert closed[0]["sum"] == 3_000_000
    assert all(row["is_balanced"] for row in closed)
    young = await resting.tried("ledger", "archive", str(tmp_path / "old"), "--before", closed[-1]["day"])
    assert getattr(young.exception, "error_code", "") == "not_archivable"
    assert not (tmp_path / "old").exists()
    again = json.loads((await resting.hush("ledger", "close", "--json")).stdout)
    assert not {row["day"] for row in closed} & {row["day"] for row in again}
