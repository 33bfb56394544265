"""Stripe: one client, typed answers, verified webhooks. What the answers mean is said by deposits/ and payouts/.

gateway.py     the official SDK behind two calls: `write` under an idempotency key, `read`
transport.py   the SDK's HTTP
connect.py     accounts of those who are paid, transfers and payouts to them
objects.py     Stripe's objects, as far as they are read
webhook.py     the signature of an event, over its raw bytes
events.py      one inbox handler for a source, by kind of event
"""
