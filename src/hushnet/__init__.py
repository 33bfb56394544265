"""Hushnet: a decentralised, private inference network."""
