"""Engines are found by entry point."""

import pytest

from hushnet.foundation.errors import ConfigurationError
from hushnet.provider.engines.registry import engine_names, load_engine


def test_both_engines_are_installed_and_carry_their_names() -> None:
    assert {"llamacpp", "openai-server"} <= set(engine_names())
    for name in ("llamacpp", "openai-server"):
        assert load_engine(name).name == name


def test_an_unknown_engine_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigurationError) as refused:
        load_engine("abacus")

    assert "llamacpp" in refused.value.hint()
