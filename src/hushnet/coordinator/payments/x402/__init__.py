"""Pay per use over x402: a request without an account pays for itself with a signed transfer of USDC.

Nouns: an *offer* is what this coordinator takes (network, recipient); *terms* are what one request costs; a *payment* is what
a client signed; a *facilitator* is the outside party that submits it; the *chain* says what became of it; a *wallet* is the
account of a payer. Off unless configured. USDC has six decimals: one unit is one micro-USD.
"""
