"""Stripe: one client, typed results, verified webhooks."""
