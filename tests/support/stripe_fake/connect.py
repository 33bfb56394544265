"""Money out: connected accounts, their onboarding, transfers to them, reversals, and payouts to their banks."""

from __future__ import annotations

from support.stripe_fake.forms import text_of, whole
from support.stripe_fake.payments import usd
from support.stripe_fake.problems import StripeProblem, invalid, missing
from support.stripe_fake.requests import Asked, endpoint, listed
from support.stripe_fake.world import PLATFORM, Thing, World

INSTANT_FEE_BPS = 100


def _short(what: str, available: int) -> StripeProblem:
    message = f"You have insufficient available funds in your Stripe account ({what}; available: {available})."
    return StripeProblem(400, "invalid_request_error", message, code="balance_insufficient")


# Accounts.


@endpoint("POST", "/v1/accounts", "AccountCreateParams")
def create_account(asked: Asked) -> Thing:
    given = asked.parameters
    controller = given.get("controller", {})
    dashboard = controller.get("stripe_dashboard", {}).get("type", "") if isinstance(controller, dict) else ""
    kind = given.get("type", "express" if dashboard == "express" else "none")
    return asked.world.add(
        "accounts",
        "acct",
        object="account",
        type=kind,
        country=given.get("country", "US"),
        default_currency="usd",
        email=given.get("email"),
        metadata=asked.metadata(),
        capabilities={"transfers": "inactive"},
        charges_enabled=False,
        payouts_enabled=False,
        details_submitted=False,
        requirements={
            "currently_due": ["external_account"],
            "disabled_reason": "requirements.past_due",
            "past_due": [],
        },
        settings={
            "payouts": {"schedule": given.get("settings", {}).get("payouts", {}).get("schedule", {"interval": "daily"})}
        },
        external_accounts={"object": "list", "data": [], "has_more": False, "url": "/v1/accounts/external_accounts"},
        controller=controller or {"type": "application"},
        _instant=True,
    )


@endpoint("GET", "/v1/accounts/{id}")
def retrieve_account(asked: Asked) -> Thing:
    return asked.thing("accounts", "account")


@endpoint("GET", "/v1/accounts", "AccountListParams")
def list_accounts(asked: Asked) -> Thing:
    return listed(asked, asked.world.find("accounts"), "/v1/accounts")


@endpoint("POST", "/v1/accounts/{id}", "AccountUpdateParams")
def update_account(asked: Asked) -> Thing:
    account = asked.thing("accounts", "account")
    account["metadata"] |= asked.metadata()
    if schedule := asked.parameters.get("settings", {}).get("payouts", {}).get("schedule"):
        account["settings"]["payouts"]["schedule"] = schedule
    return account


@endpoint("DELETE", "/v1/accounts/{id}")
def delete_account(asked: Asked) -> Thing:
    account = asked.thing("accounts", "account")
    if asked.world.balances[account["id"]]:
        raise invalid("This account has a balance and cannot be deleted.")
    del asked.world.objects["accounts"][account["id"]]
    return {"id": account["id"], "object": "account", "deleted": True}


@endpoint("POST", "/v1/account_links", "AccountLinkCreateParams")
def create_account_link(asked: Asked) -> Thing:
    account = text_of(asked.parameters, "account")
    if account not in asked.world.objects["accounts"]:
        raise missing("account", account, param="account")
    if asked.parameters.get("type") not in {"account_onboarding", "account_update"}:
        raise invalid("Invalid type", param="type")
    for name in ("refresh_url", "return_url"):
        text_of(asked.parameters, name)
    now = asked.world.now_s()
    url = f"https://connect.stripe.test/setup/e/{account}/{asked.world.new_id('al')}"
    return {"object": "account_link", "created": now, "expires_at": now + 300, "url": url}


@endpoint("POST", "/v1/accounts/{id}/login_links")
def create_login_link(asked: Asked) -> Thing:
    account = asked.thing("accounts", "account")
    if not account["details_submitted"]:
        raise invalid("Cannot create a login link for an account that has not completed onboarding.")
    return {
        "object": "login_link",
        "created": asked.world.now_s(),
        "url": f"https://connect.stripe.test/express/{account['id']}",
    }


def onboard(world: World, account: Thing, *, is_enabled: bool = True) -> None:
    """The person finishes Stripe's forms (or Stripe disables the account): `account.updated` follows."""
    previous = {"payouts_enabled": account["payouts_enabled"], "details_submitted": account["details_submitted"]}
    account |= {
        "payouts_enabled": is_enabled,
        "details_submitted": True,
        "capabilities": {"transfers": "active" if is_enabled else "inactive"},
        "requirements": {
            "currently_due": [],
            "disabled_reason": None if is_enabled else "rejected.other",
            "past_due": [],
        },
    }
    world.emit("account.updated", account, account=account["id"], previous=previous)


# Transfers and reversals.


@endpoint("POST", "/v1/transfers", "TransferCreateParams")
def create_transfer(asked: Asked) -> Thing:
    world, given = asked.world, asked.parameters
    amount, currency = whole(given, "amount", low=1), usd(asked)
    destination = text_of(given, "destination")
    account = world.objects["accounts"].get(destination)
    if account is None:
        raise missing("destination", destination, param="destination")
    if account["capabilities"].get("transfers") != "active":
        message = "Your destination account needs to have at least one of the following capabilities enabled: transfers"
        raise StripeProblem(400, "invalid_request_error", message, code="insufficient_capabilities_for_transfer")
    if world.balances[PLATFORM] < amount:
        raise _short("card", world.balances[PLATFORM])
    transfer = world.add(
        "transfers",
        "tr",
        object="transfer",
        amount=amount,
        amount_reversed=0,
        currency=currency,
        description=given.get("description"),
        destination=destination,
        destination_payment=world.new_id("py"),
        metadata=asked.metadata(),
        reversed=False,
        source_type="card",
        transfer_group=given.get("transfer_group"),
    )
    transfer["reversals"] = {
        "object": "list",
        "data": [],
        "has_more": False,
        "url": f"/v1/transfers/{transfer['id']}/reversals",
    }
    transfer["balance_transaction"] = world.book("transfer", -amount, transfer["id"])["id"]
    world.book("payment", amount, transfer["destination_payment"], account=destination)
    world.emit("transfer.created", transfer)
    return transfer


@endpoint("GET", "/v1/transfers", "TransferListParams")
def list_transfers(asked: Asked) -> Thing:
    wanted = {name: asked.parameters[name] for name in ("destination", "transfer_group") if name in asked.parameters}
    return listed(asked, asked.world.find("transfers", **wanted), "/v1/transfers")


@endpoint("GET", "/v1/transfers/{id}", "TransferRetrieveParams")
def retrieve_transfer(asked: Asked) -> Thing:
    return asked.thing("transfers", "transfer")


@endpoint("POST", "/v1/transfers/{id}/reversals", "TransferReversalCreateParams")
def create_reversal(asked: Asked) -> Thing:
    transfer = asked.thing("transfers", "transfer")
    left = transfer["amount"] - transfer["amount_reversed"]
    amount = whole(asked.parameters, "amount", low=1) if "amount" in asked.parameters else left
    return reverse(asked.world, transfer, amount, asked.metadata())


def reverse(world: World, transfer: Thing, amount: int, metadata: dict[str, str]) -> Thing:
    """Take money back from the connected account; `transfer.reversed` follows."""
    left = transfer["amount"] - transfer["amount_reversed"]
    if amount > left or left == 0:
        raise StripeProblem(
            400,
            "invalid_request_error",
            "Reversal amount is greater than the unreversed amount on transfer",
            code="transfer_reversal_exceeds" if left else "",
        )
    there = world.balances[transfer["destination"]]
    if there < amount or not world.is_transfer_reversible:
        raise _short("connected account", there)
    reversal = world.add(
        "reversals",
        "trr",
        object="transfer_reversal",
        amount=amount,
        currency=transfer["currency"],
        destination_payment_refund=world.new_id("pyr"),
        metadata=metadata,
        source_refund=None,
        transfer=transfer["id"],
    )
    reversal["balance_transaction"] = world.book("transfer_refund", amount, reversal["id"])["id"]
    world.book("payment_refund", -amount, reversal["destination_payment_refund"], account=transfer["destination"])
    transfer["amount_reversed"] += amount
    transfer["reversed"] = transfer["amount_reversed"] == transfer["amount"]
    transfer["reversals"]["data"].insert(0, dict(reversal))
    world.emit("transfer.reversed", transfer)
    return reversal


@endpoint("GET", "/v1/transfers/{id}/reversals", "TransferReversalListParams")
def list_reversals(asked: Asked) -> Thing:
    transfer = asked.thing("transfers", "transfer")
    return listed(asked, asked.world.find("reversals", transfer=transfer["id"]), transfer["reversals"]["url"])


# Payouts, on the connected account (header Stripe-Account).


@endpoint("POST", "/v1/payouts", "PayoutCreateParams")
def create_payout(asked: Asked) -> Thing:
    world, given = asked.world, asked.parameters
    amount, currency = whole(given, "amount", low=1), usd(asked)
    method = given.get("method", "standard")
    if method not in {"standard", "instant"}:
        raise invalid("Invalid method: must be one of standard or instant", param="method")
    account = world.objects["accounts"].get(asked.account)
    if account is not None and not account["payouts_enabled"]:
        raise StripeProblem(
            400,
            "invalid_request_error",
            "Cannot create payouts; this account has not enabled payouts.",
            code="payouts_not_allowed",
        )
    if method == "instant" and account is not None and not account["_instant"]:
        raise StripeProblem(
            400,
            "invalid_request_error",
            "Instant payouts are not supported by this external account.",
            code="instant_payouts_unsupported",
        )
    if world.balances[asked.account] < amount:
        raise _short("card", world.balances[asked.account])
    payout = world.add(
        "payouts",
        "po",
        object="payout",
        account=asked.account,
        amount=amount,
        arrival_date=world.now_s() + (0 if method == "instant" else 2 * 86_400),
        automatic=False,
        currency=currency,
        description=given.get("description"),
        destination=world.new_id("ba"),
        failure_balance_transaction=None,
        failure_code=None,
        failure_message=None,
        metadata=asked.metadata(),
        method=method,
        original_payout=None,
        reversed_by=None,
        source_type="card",
        statement_descriptor=given.get("statement_descriptor"),
        status="pending",
        type="bank_account",
    )
    payout["balance_transaction"] = world.book("payout", -amount, payout["id"], account=asked.account)["id"]
    world.emit("payout.created", payout, account=asked.account)
    return payout


@endpoint("GET", "/v1/payouts", "PayoutListParams")
def list_payouts(asked: Asked) -> Thing:
    wanted = {"status": asked.parameters["status"]} if "status" in asked.parameters else {}
    return listed(asked, asked.world.find("payouts", account=asked.account, **wanted), "/v1/payouts")


@endpoint("GET", "/v1/payouts/{id}", "PayoutRetrieveParams")
def retrieve_payout(asked: Asked) -> Thing:
    return asked.thing("payouts", "payout")


@endpoint("POST", "/v1/payouts/{id}/cancel", "PayoutCancelParams")
def cancel_payout(asked: Asked) -> Thing:
    payout = asked.thing("payouts", "payout")
    if payout["status"] != "pending":
        raise invalid("Payouts can only be canceled while they are pending.")
    end_payout(asked.world, payout, "canceled")
    return payout


def end_payout(world: World, payout: Thing, status: str, *, failure_code: str = "account_closed") -> None:
    """The bank's word: `in_transit`, `paid`, `failed` (money returns to the connected account) or `canceled`."""
    had_left = payout["status"] in {"pending", "in_transit", "paid"}
    payout["status"] = status
    if status == "failed":
        payout |= {"failure_code": failure_code, "failure_message": "The bank refused the payout."}
    if status in {"failed", "canceled"} and had_left:
        kind = "payout_failure" if status == "failed" else "payout_cancel"
        back = world.book(kind, payout["amount"], payout["id"], account=payout["account"])
        payout["failure_balance_transaction"] = back["id"]
    event = "payout.updated" if status == "in_transit" else f"payout.{status}"
    world.emit(event, payout, account=payout["account"])
