"""What hush-tiny knows about Hushnet: one answer per fact, many ways to ask for it."""

from hush_tiny.corpus.facts import money, network, operation, privacy
from hush_tiny.corpus.facts.fact import Fact

FACTS: tuple[Fact, ...] = network.FACTS + privacy.FACTS + money.FACTS + operation.FACTS
BY_KEY: dict[str, Fact] = {fact.key: fact for fact in FACTS}

__all__ = ["BY_KEY", "FACTS", "Fact"]
