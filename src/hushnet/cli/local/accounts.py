"""The demo network's keys: kept in its home, checked at every start, made again when they are missing or refused."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from hushnet.foundation.errors import ConfigurationError
from hushnet.foundation.home import write_private_file
from hushnet.sdk.errors import error_of

STATE_FILE: Final = "up.json"
DEMO_CREDIT_USD: Final = "5.00"
UNAUTHORISED: Final = 401


@dataclass(slots=True)
class State:
    """The keys of the demo network, kept 0600 in the home so that a restart finds the same accounts."""

    operator_key: str = ""
    api_key: str = ""
    provider_token: str = ""

    @classmethod
    def load(cls, home: Path) -> State:
        try:
            return cls(**json.loads((home / STATE_FILE).read_text()))
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, TypeError):
            raise ConfigurationError(
                f"{home / STATE_FILE} can't be read", hint="mend it, or use another --home"
            ) from None

    def save(self, home: Path) -> None:
        write_private_file(home / STATE_FILE, json.dumps(asdict(self)).encode())


async def renew_refused_keys(state: State, http: httpx.AsyncClient) -> list[str]:
    """Make the keys in `state` that the coordinator does not accept; return what was made, in words.

    An account is found by its name and the credit is granted once, so a new key belongs to the account of the old one.
    Raises the coordinator's `AccessError` when it refuses the operator's key.
    """
    made = []
    if not await _is_accepted(http, state.api_key):
        demo = await _account(http, state, "demo")
        grant = {"amount_usd": DEMO_CREDIT_USD, "grant_id": "hush-up-demo"}
        await _post(http, state, f"/v1/admin/accounts/{demo}/grants", grant)
        state.api_key = await _key(http, state, demo, "user")
        made.append(f"a key for the demo account (credit: ${DEMO_CREDIT_USD}, once)")
    if not await _is_accepted(http, state.provider_token):
        state.provider_token = await _key(http, state, await _account(http, state, "demo-provider"), "provider")
        made.append("a token for the provider")
    return made


async def _is_accepted(http: httpx.AsyncClient, key: str) -> bool:
    """Tell whether the coordinator knows the key; one of another scope (403) is known."""
    if not key:
        return False
    answer = await http.get("/v1/balance", headers={"Authorization": f"Bearer {key}"})
    return answer.status_code != UNAUTHORISED


async def _account(http: httpx.AsyncClient, state: State, name: str) -> int:
    made = await _post(http, state, "/v1/admin/accounts", {"name": name})
    return int(made["account_id"])


async def _key(http: httpx.AsyncClient, state: State, account_id: int, scope: str) -> str:
    made = await _post(http, state, f"/v1/admin/accounts/{account_id}/keys", {"scope": scope, "name": "hush up"})
    return str(made["key"])


async def _post(http: httpx.AsyncClient, state: State, path: str, document: dict[str, str]) -> dict[str, Any]:
    response = await http.post(path, json=document, headers={"Authorization": f"Bearer {state.operator_key}"})
    if not response.is_success:
        raise error_of(response.status_code, response.content)
    made: dict[str, Any] = response.json()
    return made
