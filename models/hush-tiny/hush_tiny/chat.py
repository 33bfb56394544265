"""ChatML: how a conversation becomes text, here and in the template that engines read from the artefacts."""

from hush_tiny.corpus.turns import Conversation

START = "<|im_start|>"
END = "<|im_end|>"
PADDING = "<|pad|>"
SPECIAL_TOKENS = (PADDING, START, END)

TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def pieces(conversation: Conversation) -> list[tuple[str, bool]]:
    """Cut a conversation into consecutive pieces of ChatML, each with whether the model must learn to write it.

    The end token closes a learned piece, so that stopping is learned too.
    """
    cut: list[tuple[str, bool]] = []
    if conversation.system:
        cut.append((f"{START}system\n{conversation.system}{END}\n", False))
    for turn in conversation.turns:
        cut.append((f"{START}user\n{turn.user}{END}\n{START}assistant\n", False))
        cut.append((f"{turn.assistant}{END}", True))
        cut.append(("\n", False))
    return cut
