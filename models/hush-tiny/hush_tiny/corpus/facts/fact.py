"""One fact, and the questions that ask for it."""

from dataclasses import dataclass

FRAMES = (
    "(what is|what's|whats|what are|what exactly is) {topic}",
    "(explain|describe|define|clarify) {topic}( to me| for me|)",
    "(tell me|talk|teach me|say something) about {topic}",
    "(tell me|teach me|say|share) (something|more|a little|a bit) about {topic}",
    "what (does|do) {topic} mean",
    "what is the meaning of {topic}",
    "what is meant by {topic}",
    "what do you (know about|mean by|call) {topic}",
    "(can|could|would) you (explain|describe|define) {topic}( to me|)",
    "i (want|would like|need) to (know|understand|learn) (what {topic} is|about {topic}|{topic})",
    "(give me|i need) (a short|an|a quick|a) (explanation|description|definition|summary|overview) of {topic}",
    "i have (never heard|not heard) of {topic}",
    "i (don't|do not) (understand|know|get) {topic}",
    "{topic}",
    "{topic} (meaning|definition|explained)",
    "what about {topic}",
    "how about {topic}",
    "who or what is {topic}",
    "help me understand {topic}",
    "(do you know|have you heard of) {topic}",
    "what (role|part) (does|do) {topic} play",
    "what (does|do) {topic} do",
    "what (is|are) {topic} (for|good for|used for)",
    "why (does|do) {topic} exist",
)


@dataclass(frozen=True)
class Fact:
    """A fact: its one answer, the noun phrases that name it, and wordings beyond the common frames.

    `more` answers "tell me more" right after it.
    """

    key: str
    answer: str
    topics: tuple[str, ...] = ()
    wordings: tuple[str, ...] = ()
    more: str = ""

    def templates(self) -> tuple[str, ...]:
        """Return every template that asks for this fact."""
        topic = f"({'|'.join(self.topics)})"
        return self.wordings + (tuple(frame.replace("{topic}", topic) for frame in FRAMES) if self.topics else ())
