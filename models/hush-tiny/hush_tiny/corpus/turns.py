"""What a conversation is made of."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Turn:
    """One user message and the answer to it."""

    user: str
    assistant: str


@dataclass(frozen=True)
class Conversation:
    """Turns in order, under a system prompt that may be empty."""

    turns: tuple[Turn, ...]
    system: str = ""
