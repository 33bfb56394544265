"""Long-lived keypairs of nodes and what they sign.

Place on the map: a sibling of `dialects` and `attestation`, above `wire` and `sealing`.
"""
