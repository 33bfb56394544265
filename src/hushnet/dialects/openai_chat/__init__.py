"""The OpenAI chat completions dialect: `POST /v1/chat/completions`.

`request` is the shape, `decode` the only way in, `answer` the values an engine produces, `render` the only way out.
"""

from hushnet.dialects.openai_chat.answer import Delta, FinishReason, TokenLogprob, Usage
from hushnet.dialects.openai_chat.bounds import prompt_bytes_bound
from hushnet.dialects.openai_chat.decode import BadRequestError, decode_request
from hushnet.dialects.openai_chat.render import ChatStream, render_completion, render_error
from hushnet.dialects.openai_chat.request import PARAM_OF_FEATURE, ChatRequest, ResponseFormat, features_of

__all__ = [
    "PARAM_OF_FEATURE",
    "BadRequestError",
    "ChatRequest",
    "ChatStream",
    "Delta",
    "FinishReason",
    "ResponseFormat",
    "TokenLogprob",
    "Usage",
    "decode_request",
    "features_of",
    "prompt_bytes_bound",
    "render_completion",
    "render_error",
]
