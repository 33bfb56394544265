"""A Stripe of our own for tests: the endpoints, shapes, errors and signed webhooks that we use, over real HTTP.

    with running_stripe() as stripe:              # a thread with a real socket; `stripe.base_url` is the API
        client = StripeClient(stripe.api_key, base_addresses={"api": stripe.base_url}, http_client=HTTPXClient())
        stripe.listen(url, "whsec_...")            # the account's endpoint; `is_connect=True` for Connect events
        stripe.pay(session_id)                     # what a person or a bank would do
        stripe.deliver()                           # POST the events that are due, signed, to the endpoints
        stripe.fail("POST /v1/transfers", Fault.DROP_AFTER)   # the next such request suffers this

State is plain dictionaries in Stripe's own shapes: `stripe.world.objects["transfers"]`. Everything is deterministic:
nothing happens by itself, events wait until `deliver` sends them, once, twice, in any order.
"""

from support.stripe_fake.faults import Fault
from support.stripe_fake.idempotency import Stored
from support.stripe_fake.server import FakeStripe, running_stripe
from support.stripe_fake.webhooks import Delivered, Endpoint
from support.stripe_fake.world import World

__all__ = ["Delivered", "Endpoint", "FakeStripe", "Fault", "Stored", "World", "running_stripe"]
