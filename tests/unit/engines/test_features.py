"""What an engine cannot do is refused by name."""

import pytest

from hushnet.dialects.openai_chat import ChatRequest, ResponseFormat
from hushnet.provider.engines.base import UnsupportedFeature, check_features


@pytest.mark.parametrize(
    ("members", "feature", "param"),
    [
        ({"tools": ({"type": "function"},)}, "tools", "tools"),
        ({"response_format": ResponseFormat("json_object")}, "json_schema", "response_format"),
        ({"logprobs": True}, "logprobs", "logprobs"),
    ],
)
def test_a_refused_feature_is_named_with_the_member_that_asks_for_it(members, feature: str, param: str) -> None:
    request = ChatRequest("m", [{"role": "user", "content": "hi"}], **members)
    with pytest.raises(UnsupportedFeature) as refused:
        check_features(request, frozenset({"logprobs", "json_schema", "tools"} - {feature}))

    assert (refused.value.error_code, refused.value.param) == ("unsupported_feature", param)
    assert feature in str(refused.value)
    assert param in refused.value.hint()
