"""`hush route explain` and `hush route fleet`: questions to a running coordinator, answered as tables or JSON."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from hushnet.cli import console
from hushnet.cli.options import AsJson, BaseUrl, Home
from hushnet.cli.route.operator import OperatorKey, operator_client
from hushnet.cli.route.tables import print_explanation, print_fleet, print_groups
from hushnet.foundation.errors import RequestError

app = typer.Typer()

_MODELS_HINT = "`hush models` lists what is on offer; `hush route fleet` also who is connected and not routable"


_PROVIDER = re.compile(r"[0-9a-f]{8,64}", re.ASCII)


class Floor(StrEnum):
    """The least trust tier that the request accepts."""

    NONE = "none"
    SELF_SIGNED = "self_signed"
    MEASURED = "measured"
    HARDWARE = "hardware"


@app.command("explain")
def explain(
    model: Annotated[str, typer.Argument(help="The model that a request would name.")],
    prompt_tokens: Annotated[int, typer.Option("--prompt-tokens", min=1, help="How long the prompt is.")] = 400,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", min=1, help="The bound of the answer (default: the coordinator's).")
    ] = None,
    feature: Annotated[
        list[str] | None, typer.Option("--feature", help="What the request needs, as tools or vision; repeatable.")
    ] = None,
    trust: Annotated[
        Floor, typer.Option("--trust", help="The least trust tier that the request accepts.")
    ] = Floor.NONE,
    region: Annotated[list[str] | None, typer.Option("--region", help="A region that is allowed; repeatable.")] = None,
    build: Annotated[list[str] | None, typer.Option("--build", help="A build that is allowed; repeatable.")] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="A provider that is allowed: its id or how it begins; repeatable."),
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option("--ignore", help="A provider that is not: its id or how it begins; repeatable.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Chooses among near-equal providers.")] = 0,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="How many candidates to list.")] = 20,
    base_url: BaseUrl = None,
    api_key: OperatorKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Say where a request would go now, what it would cost at each provider, and why the others lose."""
    wish: dict[str, Any] = {
        "model": model,
        "prompt_tokens": prompt_tokens,
        "output_tokens_max": max_tokens,
        "features": feature or [],
        "trust": trust.value,
        "preferences": {
            "only": _checked(only),
            "ignore": _checked(ignore),
            "regions": region or [],
            "builds": build or [],
        },
        "seed": seed,
        "limit": limit,
    }
    with operator_client(base_url, api_key, home) as client:
        explanation = _asked(client.request, "POST", "/v1/admin/route/explain", wish)
    if as_json:
        console.print_json(explanation)
    else:
        print_explanation(explanation)


@app.command("fleet")
def fleet(
    model: Annotated[str, typer.Argument(help="One model, with the kinds of its providers.")] = "",
    base_url: BaseUrl = None,
    api_key: OperatorKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Show what the router sees of each model: who can take a request now, slots, tokens, rates, who waits."""
    with operator_client(base_url, api_key, home) as client:
        asked = {"model": model} if model else {}
        models = []
        while True:
            path = f"/v1/admin/fleet?{urlencode(asked)}" if asked else "/v1/admin/fleet"
            page = _asked(client.request, "GET", path)
            models += page["data"]
            if not page["has_more"]:
                break
            asked = {"after": page["data"][-1]["model"]}
    if as_json:
        console.print_json(models)
        return
    print_fleet(models)
    if model:
        print_groups(models[0])


def _checked(ids: list[str] | None) -> list[str]:
    for each in ids or []:
        if _PROVIDER.fullmatch(each) is None:
            raise typer.BadParameter(f"{each} is no provider: give the first 8 characters or more of an id")
    return ids or []


def _asked(request: Any, *call: Any) -> Any:
    try:
        return request(*call)
    except RequestError as error:
        if error.error_code == "model_not_found":
            raise RequestError(str(error), code=error.error_code, hint=_MODELS_HINT) from None
        raise
