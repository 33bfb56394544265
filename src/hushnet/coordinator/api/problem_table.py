"""The rows of the error table: every code that the HTTP interface can answer with."""

from __future__ import annotations

from typing import Final, NamedTuple


class Row(NamedTuple):
    """One error: its stable code, HTTP status, OpenAI type, a sentence for a person, and what to do about it."""

    code: str
    status: int
    type: str
    meaning: str
    hint: str = ""


_BAD: Final = "invalid_request_error"
_AUTH: Final = "authentication_error"
_FORBIDDEN: Final = "permission_error"
_FUNDS: Final = "insufficient_quota"
_MISSING: Final = "not_found_error"
_CONFLICT: Final = "conflict_error"
_SLOW: Final = "rate_limit_error"
_SERVER: Final = "server_error"
_FULL: Final = "overloaded_error"

_LATER: Final = "try again after Retry-After"
_RESEAL: Final = "make a new envelope; the SDK does so by itself"

ROWS: Final = (
    # What the caller sent.
    Row("invalid_request", 400, _BAD, "the request is not valid", "see `param` and the message"),
    Row("invalid_json", 400, _BAD, "the body is not valid JSON", "send one JSON object in UTF-8"),
    Row("json_too_deep", 400, _BAD, "the body is nested too deeply", "64 levels are allowed"),
    Row("missing_member", 400, _BAD, "a required field is missing", "see the message; `param` names the field where it is one of the body"),
    Row("wrong_type", 400, _BAD, "a field has the wrong type", "see the message; `param` names the field where it is one of the body"),
    Row("out_of_range", 400, _BAD, "a field is outside its bounds", "see the message; `param` names the field where it is one of the body"),
    Row("unsupported_value", 400, _BAD, "a field asks for something that this network does not offer", "see the message; `param` names the field where it is one of the body"),
    Row("unsupported_feature", 400, _BAD, "no engine of this model can do that", "GET /v1/models lists the features of each model"),
    Row("reason_required", 400, _BAD, "a correction says why it is made", "give a reason of 1 to 200 characters"),
    Row("amount_out_of_bounds", 400, _BAD, "a number is outside the bounds that are calculated in"),
    Row("bad_signature", 400, _BAD, "the webhook's signature is not valid", "check the webhook's secret and this machine's clock"),
    Row("unsupported_coin", 400, _BAD, "this coin is not offered here", "GET /v1/coins lists those that are"),
    Row("bad_address", 400, _BAD, "this is not an address of that coin on that network", "copy it again from the wallet, and check the network"),
    Row("missing_tag", 400, _BAD, "this coin needs a destination tag", "give the tag; an X-address says when there is none"),
    Row("bad_tag", 400, _BAD, "the destination tag does not fit the address"),
    Row("bad_coin_amount", 400, _BAD, "this is not an amount of that coin"),
    Row("bad_affinity", 400, _BAD, "the header hushnet-affinity is not a list of tags", "leave it out; the SDK makes it by itself"),
    Row("bad_route", 400, _BAD, "the header hushnet-route does not say how to route", "see `param` and the message"),
    Row("ambiguous_provider", 400, _BAD, "several providers' ids begin like that", "send more digits of the id"),
    Row("bad_request", 400, _BAD, "the request inside the envelope is not valid"),
    Row("bad_envelope", 400, _BAD, "the sealed envelope is malformed", _RESEAL),
    Row("bad_header", 400, _BAD, "the routing header of the envelope is not valid", _RESEAL),
    Row("header_body_mismatch", 400, _BAD, "header and body of the sealed request disagree", _RESEAL),
    Row("bound_exceeded", 400, _BAD, "the request is larger than the bounds in its header", "raise the bounds"),
    Row("context_too_long", 400, _BAD, "prompt and answer do not fit the model's context", "shorten the prompt"),
    Row("unsupported_schema", 400, _BAD, "the provider cannot hold an answer to this JSON schema", "the message names the keyword"),
    Row("engine_refused", 400, _BAD, "the provider's engine does not take this request", "leave out what is unusual: names, odd roles, extreme values"),
    Row("unsupported_version", 400, _BAD, "this version of the protocol is not spoken here", "update the client"),
    Row("unsupported_suite", 400, _BAD, "this sealing suite is not offered", "update the client"),
    Row("clock_skew", 400, _BAD, "the envelope's times do not fit the clock here", "set the clock of the client"),
    Row("expired", 400, _BAD, "the envelope has expired", _RESEAL),
    Row("not_yet_valid", 400, _BAD, "the envelope is from the future", "set the clock of the client"),
    Row("unknown_key", 422, _BAD, "the provider has rotated the envelope's key away", "fetch the keys again and reseal"),
    Row("keys_stale", 422, _BAD, "none of the envelope's keys is live any more", "fetch the keys again and reseal"),
    Row("open_failed", 422, _BAD, "the provider could not open the envelope", _RESEAL),
    Row("untrusted", 422, _BAD, "a claim did not verify, or is not enough for what was asked"),
    Row("no_provider_at_price", 422, _BAD, "this model costs more than `price_max` at every provider that fits", "GET /v1/models tells the price; raise price_max or leave it out"),
    Row("body_too_large", 413, _BAD, "the body is too large"),
    Row("unsupported_media_type", 415, _BAD, "the content type or encoding is not accepted", "send JSON, not encoded"),
    Row("headers_too_large", 431, _BAD, "the request's headers are too large"),
    Row("bad_http", 400, _BAD, "this is not a valid HTTP/1.1 request"),
    Row("request_timeout", 408, _BAD, "the request was not sent in time"),
    Row("bad_payment", 400, _BAD, "the payment header is no payment that can be read", "send a request without one and pay as its terms say"),
    Row("payment_conflict", 409, _CONFLICT, "this payment was sent with another request before", "sign a new payment for a new request"),
    Row("payment_used", 409, _CONFLICT, "this payment has bought a request before", "sign a new payment for a new request"),
    Row("duplicate_envelope", 409, _CONFLICT, "this envelope was sent before", _RESEAL),
    Row("replayed", 409, _CONFLICT, "the provider has opened this envelope before", _RESEAL),
    Row("no_own_provider", 409, _CONFLICT, "no machine of this account is connected", "start one with `hush provider start` and a token of this account, or ask with \"own\": \"prefer\""),
    Row("not_available", 409, _CONFLICT, "the account has less than that available", "look at its balance"),
    Row("no_debt", 409, _CONFLICT, "this account owes nothing"),
    Row("account_not_closable", 409, _CONFLICT, "something of this account is still under way", "see the message"),
    Row("account_not_empty", 409, _CONFLICT, "this account has money that its owner does not give up", "take it out first, or say how much is given up"),
    Row("already_redeemed", 409, _CONFLICT, "this account has used an invite before"),
    Row("invite_over", 409, _CONFLICT, "this invite is used up or over"),
    Row("referral_refused", 409, _CONFLICT, "these two accounts cannot refer each other"),
    Row("referral_too_late", 409, _CONFLICT, "an account names its referrer before its first paid request"),
    Row("bad_idempotency_key", 400, _BAD, "the header Idempotency-Key is not a key", "1 to 255 printable ASCII characters"),
    Row("idempotency_conflict", 409, _CONFLICT, "this Idempotency-Key stands for a request with another body", "use a new key for a new request"),
    Row("request_in_progress", 409, _CONFLICT, "the request of this Idempotency-Key is running", "GET /v1/generations/{id} of the id in hushnet-request-id says how it ends"),
    Row("request_already_done", 409, _CONFLICT, "the request of this Idempotency-Key is over, and is not done a second time", "GET /v1/generations/{id} of the id in hushnet-request-id says how it ended"),
    Row("posting_refused", 409, _CONFLICT, "the books do not allow this now", "look at the balance and try again"),
    Row("conflict", 409, _CONFLICT, "the same id was used before for something else", "use a new id"),
    # Money out.
    Row("payout_too_small", 400, _BAD, "a payout is at least the minimum, in whole cents", "ask for more"),
    Row("insufficient_withdrawable", 402, _FUNDS, "the earnings that may leave now are less than that", "earnings can leave once they are old enough, by default after a day"),
    Row("payout_open", 409, _CONFLICT, "another payout of this account is on its way", "wait until it is there, or cancel it"),
    Row("payout_not_cancellable", 409, _CONFLICT, "this payout has been sent"),
    Row("payout_not_stuck", 409, _CONFLICT, "this payout waits for nobody's word"),
    Row("no_payout_method", 409, _CONFLICT, "this account has no default payout method", "add one: `hush payout methods add`"),
    Row("payout_method_cooling_down", 409, _CONFLICT, "this payout method is new and cannot be used yet", "use another, or wait"),
    Row("payout_method_unusable", 409, _CONFLICT, "this payout method cannot be used, added or removed now", "see the message"),
    Row("too_many_methods", 409, _CONFLICT, "this account has too many payout methods", "remove some"),
    Row("bad_webhook", 400, _BAD, "this webhook did not verify", "check the endpoint's secret in the settings, and the clock"),
    Row("too_many_deposits", 409, _CONFLICT, "this account has too many unpaid deposits", "pay one, or wait until they expire"),
    Row("card_needed", 409, _CONFLICT, "no card is saved for this account", "make a deposit that saves its card: `hush deposit card 20 --save-card`"),
    # Who the caller is and what it may do.
    Row("invalid_api_key", 401, _AUTH, "the API key is missing, unknown or revoked", "send `Authorization: Bearer hk_…`"),
    Row("access_denied", 403, _FORBIDDEN, "this is not allowed"),
    Row("wrong_scope", 403, _FORBIDDEN, "this key is for something else", "use a key of the scope that the message names"),
    Row("budgeted_key", 403, _FORBIDDEN, "a key with a budget of its own makes requests and reads, and nothing else", "use a key of this account that has no budget"),
    Row("account_closed", 403, _FORBIDDEN, "this account is closed", "ask the operator; `hush account reopen ID` opens one that was barred, nothing one that was closed for good"),
    Row("operator_key", 403, _FORBIDDEN, "operators' keys are made on the coordinator's own machine", "`hush coordinator keys create NAME` there"),
    Row("second_approver", 403, _FORBIDDEN, "another operator's key has to approve this", "`hush correct approve ID` with the key of another operator"),
    Row("account_frozen", 403, _FORBIDDEN, "this account may not spend now", "ask the operator"),
    Row("payer_barred", 403, _FORBIDDEN, "this wallet owes for a request that it did not pay", "ask the operator"),
    Row("too_many_keys", 409, _CONFLICT, "this account has too many live keys", "revoke some"),
    Row("insufficient_funds", 402, _FUNDS, "the balance does not cover what this request may cost", "lower max_tokens or add credit"),
    Row("insufficient_quota", 402, _FUNDS, "a budget does not cover what this request may cost", "lower max_tokens, wait for the reset, or raise the budget: GET /v1/budgets"),
    Row("payment_required", 402, _FUNDS, "a request without a key pays for itself", "sign what the header PAYMENT-REQUIRED asks for, or send a key"),
    # What is not there.
    Row("not_found", 404, _MISSING, "there is nothing at this address", "GET /openapi.json describes every address; some are there only where the operator has switched them on"),
    Row("method_not_allowed", 405, _BAD, "this address does not take that method", "see the header Allow"),
    Row("model_not_found", 404, _MISSING, "no provider serves this model", "GET /v1/models lists what is served"),
    Row("budget_not_found", 404, _MISSING, "there is no such budget", "GET /v1/budgets lists them"),
    Row("account_not_found", 404, _MISSING, "there is no such account", "an account is named by its number, which `hush account create NAME` prints, also of one that is there"),
    Row("key_not_found", 404, _MISSING, "this account has no such key", "GET /v1/keys lists them"),
    Row("provider_not_found", 404, _MISSING, "there is no such provider", "GET /v1/providers/attestation lists those that are connected"),
    Row("payout_not_found", 404, _MISSING, "this account has no such payout", "GET /v1/payouts lists them"),
    Row("payout_method_not_found", 404, _MISSING, "this account has no such payout method", "GET /v1/payouts/methods lists them"),
    Row("deposit_not_found", 404, _MISSING, "this account has no such deposit", "GET /v1/deposits lists them"),
    Row("payments_not_configured", 404, _MISSING, "this network has no such way to pay", "ask its operator which ways there are"),
    Row("request_not_found", 404, _MISSING, "this account has no such request", "GET /v1/usage lists the finished ones"),
    Row("invite_not_found", 404, _MISSING, "there is no such invite", "check the code"),
    Row("referral_not_found", 404, _MISSING, "there is no such referral code", "check the code"),
    Row("adjustment_not_found", 404, _MISSING, "there is no such adjustment", "`hush correct pending --all` lists them"),
    Row("finding_not_found", 404, _MISSING, "there is no such finding", "`hush findings list --all` lists them"),
    Row("event_not_found", 404, _MISSING, "there is no such event that is stuck", "`hush findings payments` lists them"),
    Row("archived", 400, _BAD, "what moved then is in the archive", "ask for a later period, or ask the operator"),
    Row("not_archivable", 400, _BAD, "some of those transfers must stay"),
    Row("day_not_closed", 404, _MISSING, "that day is not closed yet, or was before the books began", "a day is closed five minutes after it has ended (UTC)"),
    Row("coin_invoice_not_found", 404, _MISSING, "this account has no such invoice", "GET /v1/deposits/coin lists them"),
    Row("not_settled_yet", 404, _MISSING, "this request is not settled yet", "ask again in a moment"),
    # Who could serve it.
    Row("rate_limited", 429, _SLOW, "this key calls too fast", _LATER),
    Row("too_many_changes", 429, _SLOW, "this was changed too often lately", "try again tomorrow"),
    Row("too_many_payments", 429, _SLOW, "payments of this wallet are still open", _LATER),
    Row("too_many_invoices", 429, _SLOW, "too many invoices of this account wait for coins", "pay one of them, or wait until they end"),
    Row("too_many_request_keys", 429, _SLOW, "this account has named too many requests today", "leave the header Idempotency-Key out"),
    Row("capacity", 429, _SLOW, "every provider of this model is busy", _LATER),
    Row("recipients_unavailable", 503, _FULL, "none of the envelope's providers can serve it now", _LATER),
    Row("not_for_me", 503, _FULL, "the envelope went to the wrong provider", _LATER),
    Row("model_unavailable", 503, _FULL, "no provider that fits can serve this model now", _LATER),
    Row("no_provider_at_floor", 503, _FULL, "no provider of this model has the trust that was asked for", "lower the floor knowingly"),
    Row("no_listed_provider", 503, _FULL, "none of the providers that the request allows serves this model now", "name others in hushnet-route, or leave `only` and `ignore` out"),
    Row("no_provider_in_region", 503, _FULL, "no provider of this model is in the regions that were asked for", "add regions, or leave them out"),
    Row("no_provider_of_build", 503, _FULL, "no provider serves this model in the builds that were asked for", "add builds, or leave them out"),
    Row("own_provider_lacks_model", 503, _FULL, "none of your own machines that are connected serves this model now", "start the model there, or ask with \"own\": \"prefer\""),
    Row("draining", 503, _FULL, "the provider is shutting down", _LATER),
    Row("shutting_down", 503, _FULL, "the coordinator is shutting down", _LATER),
    Row("too_many_connections", 503, _FULL, "too many open connections", _LATER),
    Row("payment_pending", 503, _FULL, "what became of the payment is not known yet", "send the same request with the same payment after Retry-After; do not sign another"),
    Row("gateway_unavailable", 503, _FULL, "the payment gateway does not answer as it should", _LATER),
    Row("bad_rate", 503, _FULL, "the rate of this coin is not known now", _LATER),
    Row("busy", 503, _FULL, "the coordinator is busy", _LATER),
    Row("statement_moved", 503, _FULL, "the statement's period was still being written", "ask again"),
    Row("payments_unavailable", 503, _FULL, "the payment processor does not answer", _LATER),
    Row("storage", 503, _FULL, "the database does not answer", _LATER),
    Row("payments_refused", 502, _SERVER, "the payment service refused", "tell the operator"),
    # What went wrong here or at the provider.
    Row("engine_failed", 502, _SERVER, "the provider's engine failed", "send it again"),
    Row("provider_failed", 502, _SERVER, "the provider failed before it answered", "send it again"),
    Row("link_lost", 502, _SERVER, "the connection to the provider was lost", "send it again"),
    Row("backpressure", 502, _SERVER, "the answer was not read for too long", "send it again, and read it as it comes"),
    Row("protocol", 502, _SERVER, "a peer broke the protocol", "send it again"),
    Row("remote_protocol", 502, _SERVER, "a peer broke the protocol", "send it again"),
    Row("timed_out", 504, _SERVER, "the request took too long", "send it again, or ask for less"),
    Row("cancelled", 499, _BAD, "the caller hung up"),
    Row("local_protocol", 500, _SERVER, "an internal error"),
    Row("configuration", 500, _SERVER, "the coordinator is not configured for this"),
    Row("internal", 500, _SERVER, "an internal error", "send it again; if it stays, tell the operator the request id"),
)  # fmt: skip
