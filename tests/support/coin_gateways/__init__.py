"""Gateways for coins of the tests' own: CoinPayPortal and BTCPay Server over real HTTP, with faults on demand.

server.py     one small HTTP server with scripted faults
addresses.py  valid addresses of every pair
coinpay.py    CoinPayPortal's payments and webhooks, in both dialects
btcpay.py     BTCPay Server's invoices, payouts and webhooks
"""
