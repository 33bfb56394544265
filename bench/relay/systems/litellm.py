"""The LiteLLM proxy from PyPI: one worker, one model, a master key, no database, logging only errors."""

from __future__ import annotations

from pathlib import Path

from bench.relay import environments
from bench.relay.consumers import Target
from bench.relay.instructions import MODEL
from bench.relay.processes import free_port
from bench.relay.systems.base import System

KEY = "sk-bench"
_CONFIGURATION = """
model_list:
  - model_name: {model}
    litellm_params: {{model: openai/{model}, api_base: "{upstream}/v1", api_key: none}}
general_settings: {{master_key: {key}}}
litellm_settings: {{telemetry: false, drop_params: true, num_retries: 0}}
"""


class LiteLlm(System):
    """LiteLLM."""

    name = "litellm"
    streams = 20
    askers = 8
    start_s_max = 120.0

    def install(self) -> None:
        self._programs = environments.virtual_environment("litellm", ["litellm[proxy]"])
        self.version = environments.version(self._programs, "litellm")

    def start(self, upstream_url: str) -> None:
        port, configuration = free_port(), self.folder() / "config.yaml"
        configuration.write_text(_CONFIGURATION.format(model=MODEL, upstream=upstream_url, key=KEY))
        arguments: list[str | Path] = [
            self._programs / "litellm",
            "--config",
            configuration,
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ]
        self._launch(arguments, port, LITELLM_LOG="ERROR", LITELLM_LOCAL_MODEL_COST_MAP="True")
        self.target = Target(self.target.base_url, KEY)
