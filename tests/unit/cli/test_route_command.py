"""`hush route`: whose key goes where, and tables that stay readable with a fleet of any size."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from hushnet.attestation.tiers import Tier
from hushnet.cli import console
from hushnet.cli.route import app
from hushnet.cli.route.operator import operator_client, operator_settings
from hushnet.cli.route.tables import print_explanation, print_fleet, print_groups, span
from hushnet.coordinator.routing.explain import explain
from hushnet.coordinator.routing.model import RouteRequest
from hushnet.coordinator.routing.router import COSTED_MAX, View
from hushnet.coordinator.routing.summary import Tally
from hushnet.foundation.errors import AccessError, ConfigurationError
from hushnet.foundation.ids import ModelId
from support.routing import REQUEST, candidate, numbered, view

URL, OTHER_URL = "http://127.0.0.1:8470", "http://127.0.0.1:9999"
_STYLE = re.compile(r"\x1b\[[0-9;]*m")
OPERATOR, USER = "hk_operator_1_" + "o" * 20, "hk_user_2_" + "u" * 20


class Screen(io.StringIO):
    """A stdout that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _fresh_consoles(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("HUSH_API_KEY", "HUSH_BASE_URL", "HUSH_OPERATOR_KEY", "HUSH_HOME", "HUSH_NETWORK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    console.out.cache_clear()
    console.err.cache_clear()
    yield
    console.out.cache_clear()
    console.err.cache_clear()


def shown(monkeypatch: pytest.MonkeyPatch, columns: int, write: Callable[..., None], *arguments: Any) -> str:
    screen = Screen()
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("sys.stdout", screen)
    write(*arguments)
    return _STYLE.sub("", screen.getvalue())


def told(fleet: View, request: RouteRequest = REQUEST, **more: Any) -> dict[str, Any]:
    answer = json.loads(msgspec.json.encode(explain(fleet, request, seed=0)))
    return {"waiting": 0, "unroutable": {}, **answer, **more}


def demo_home(home: Path) -> Path:
    """A home as `hush up` leaves it."""
    (home / "consumer.toml").write_text(f'base_url = "{URL}"\napi_key = "{USER}"\nnetwork = "hushnet-local"\n')
    (home / "up.json").write_text(json.dumps({"operator_key": OPERATOR, "api_key": USER, "provider_token": "t"}))
    return home


def key_of(**arguments: Any) -> str | None:
    settings = operator_settings(**{"base_url": None, "api_key": None, "home": None, **arguments})
    return settings.api_key.reveal() if settings.api_key is not None else None


def test_the_key_that_hush_up_keeps_is_used_with_its_own_network(tmp_path: Path) -> None:
    assert key_of(home=demo_home(tmp_path)) == OPERATOR
    assert key_of(home=tmp_path, base_url=URL) == OPERATOR


def test_the_key_that_hush_up_keeps_goes_to_no_other_address(tmp_path: Path) -> None:
    assert key_of(home=demo_home(tmp_path), base_url=OTHER_URL) is None
    assert key_of(home=tmp_path, base_url="https://hush.example") is None


def test_the_key_that_hush_up_kept_stays_home_when_the_home_was_joined_to_another_network(tmp_path: Path) -> None:
    demo_home(tmp_path)
    other = f'base_url = "https://hush.example"\napi_key = "{USER}x"\nnetwork = "other"\n'
    (tmp_path / "consumer.toml").write_text(other)
    assert key_of(home=tmp_path) != OPERATOR


def test_a_flag_goes_before_the_environment_and_both_before_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo_home(tmp_path)
    monkeypatch.setenv("HUSH_API_KEY", USER)
    assert key_of(home=tmp_path) == OPERATOR
    monkeypatch.setenv("HUSH_OPERATOR_KEY", "hk_operator_3_environment")
    assert key_of(home=tmp_path) == "hk_operator_3_environment"
    assert key_of(home=tmp_path, api_key="hk_operator_4_flag") == "hk_operator_4_flag"


def test_no_key_says_where_one_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refused, operator_client(None, None, tmp_path):
        pass
    assert "hush coordinator init" in refused.value.hint()


def test_a_refused_key_says_which_one_is_needed(tmp_path: Path) -> None:
    with pytest.raises(AccessError) as refused, operator_client(None, USER, tmp_path):
        raise AccessError("this key is for something else", code="wrong_scope")
    assert refused.value.error_code == "wrong_scope"
    assert "HUSH_OPERATOR_KEY" in refused.value.hint()


@pytest.mark.parametrize("columns", [80, 120])
def test_the_decision_comes_first_and_a_candidate_is_one_line(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    fleet = view(
        *(candidate(numbered(n << 240), tokens_ahead=200 * n, agent_version="0.4.0") for n in range(1, 97)),
        *(candidate(numbered(n << 230), slots_left=0) for n in (1, 2, 3)),
        candidate(numbered(5 << 220), strain_ms=600_000, tier=Tier.NONE, slots=4096, slots_left=4096),
    )
    request = msgspec.structs.replace(REQUEST, floor=Tier.SELF_SIGNED)
    text = shown(monkeypatch, columns, print_explanation, told(fleet, request))
    first, header, _, *rows = text.splitlines()

    assert first == f"m goes to 000100000000: 3,835 ms, next best 5,085 ms; {COSTED_MAX} of 100 examined"
    assert header.split()[:4] == ["provider", "why", "cost", "strain"]
    assert len(rows) == 20 + 2
    assert rows[0].split()[:3] == ["000100000000", "chosen", "3,835"]
    assert rows[1].split()[:3] == ["000200000000", "+1,250", "5,085"]
    assert [row.split()[1] for row in rows[16:20]] == ["busy", "busy", "busy", "trust"]
    assert "602,585" in rows[19]
    assert rows[-1].strip() == "not listed (--limit lists more): 80 cost"
    assert max(map(len, rows)) <= 112


def test_an_avoided_provider_is_hours_away(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet, request = view(candidate()), msgspec.structs.replace(REQUEST, avoided=frozenset({candidate().provider_id}))
    text = shown(monkeypatch, 120, print_explanation, told(fleet, request))
    assert "goes to aaaaaaaaaaaa: 2,778 h, nobody else can take it now; 1 of 1 examined" in text


def test_what_a_provider_calls_itself_is_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = view(candidate(agent_version="[red]9[/red]", features=frozenset({"[bold]"})))
    assert "[red]9[/red]" in shown(monkeypatch, 120, print_explanation, told(fleet))


def test_a_wait_and_a_refusal_are_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = view(candidate(slots_left=0, tokens_ahead=800))
    assert "waits: room is likely in 5,000 ms" in shown(monkeypatch, 120, print_explanation, told(busy))
    console.out.cache_clear()
    plain = view(candidate(tier=Tier.NONE))
    refused = told(plain, msgspec.structs.replace(REQUEST, floor=Tier.MEASURED), unroutable={"draining": 2})
    text = shown(monkeypatch, 120, print_explanation, refused)
    assert "is refused: trust unavailable; of 1 candidates: 1 trust unavailable" in text
    assert "connected and not routable: 2 draining" in text


def test_an_empty_fleet_says_what_to_do(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    print_explanation(told(view()))
    print_fleet([])
    assert capsys.readouterr().err.count("hush provider start") == 2


def test_a_fleet_is_a_line_a_model_and_its_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = view(*(candidate(numbered(n), region="de", tokens_left=10_000, slots_left=n % 5) for n in range(10)))
    tally = Tally(ModelId("org/a-model:1"), fleet.index)
    tally.add(fleet.index.values())
    model = {**msgspec.to_builtins(tally.summary()), "waiting": 3, "unroutable": {"draining": 1}}

    lines = shown(monkeypatch, 80, print_fleet, [model]).splitlines()
    assert lines[2].split() == ["org/a-model:1", "8", "2", "1", "20/40", "100,000", "40", "3"]
    console.out.cache_clear()
    assert "self_signed" in shown(monkeypatch, 80, print_groups, model)


@pytest.mark.parametrize("name", ["xyz", "0" * 7, "0" * 65, "ABCDEF012345"])
def test_what_names_no_provider_is_refused_before_it_is_asked(tmp_path: Path, name: str) -> None:
    arguments = ["explain", "m", "--only", name, "--api-key", OPERATOR, "--home", str(tmp_path)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "first 8 characters" in re.sub(r"[│\s]+", " ", result.output)


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0, "0 ms"), (99_999, "99,999 ms"), (100_000, "100 s"), (10_000_000_000, "2,778 h")],
)
def test_a_time_is_short_whatever_its_size(milliseconds: int, text: str) -> None:
    assert span(milliseconds) == text
