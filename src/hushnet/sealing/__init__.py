"""The sealing protocol, version 1 (docs/sealing.md): what carries a prompt to a provider and its answer back, unread.

Nouns: suite and key pair, statement, routing header, envelope, record, meter, receipt, keyring, replay cache.
Place on the map: above foundation, below wire. Pure: no sockets, no event loop, no clock (times are arguments);
randomness comes from `secrets` and libsodium. Whatever needs a secret to read lives in `sealing.opening`, which only
`coordinator.confidential`, `provider.serving` and `sdk.sealed` may import.
"""
