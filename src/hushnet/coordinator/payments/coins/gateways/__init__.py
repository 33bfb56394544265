"""Gateways for coins: they make addresses, watch chains and send coins, so that no key of a wallet is ever here.

base.py        what a gateway is to us
http.py        one gateway over HTTP, bounded, with failures by what they leave in doubt
listing.py     a long list read as it arrives
signatures.py  webhooks are what they claim
coinpay.py     CoinPayPortal
btcpay.py      BTCPay Server
"""
