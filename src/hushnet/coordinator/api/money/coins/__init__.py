"""Coins over HTTP: `consumer.py` pays in with them, `operator.py` sends batches and says what only an operator knows."""
