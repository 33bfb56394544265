"""Why a model could not be had."""

from __future__ import annotations

from hushnet.foundation.errors import ConfigurationError


class ModelUnavailableError(ConfigurationError):
    """The model that was named could not be found, fetched or verified.

    Codes: `bad_model_name`, `model_not_found`, `hub_access_denied`, `hub_unreachable`, `model_damaged`,
    `model_not_stored`.
    """

    code = "model_not_found"
    default_hint = "Name hush-tiny, a path to a .gguf file, hf:OWNER/REPO:FILE.gguf, or http://HOST:PORT/v1#MODEL."
