"""One table from code to status: complete, closed, and silent about what went wrong here."""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import hushnet
from hushnet.coordinator.api import problems
from hushnet.coordinator.api.problem_table import ROWS
from hushnet.coordinator.serving.failures import FailureCode
from hushnet.foundation.errors import (
    AccessError,
    CapacityError,
    HushnetError,
    LocalProtocolError,
    RequestError,
    StorageError,
    TrustError,
)
from hushnet.sealing.errors import WireCode

ROOT = Path(__file__).resolve().parents[3]


def test_codes_are_unique_and_spelled_alike() -> None:
    codes = [row.code for row in ROWS]
    assert len(set(codes)) == len(codes)
    assert all(code.replace("_", "").isalnum() and code == code.lower() for code in codes)
    assert all(400 <= row.status < 600 and row.meaning for row in ROWS)


def test_an_error_of_ours_keeps_its_text_its_param_and_its_hint() -> None:
    error = RequestError("max_tokens must be in 1..9", code="out_of_range", hint="lower it")
    error.param = "max_tokens"  # type: ignore[attr-defined]
    problem = problems.problem_of(error)
    assert (problem.status, problem.code, problem.param) == (400, "out_of_range", "max_tokens")
    assert problem.message == "max_tokens must be in 1..9"
    assert problem.hint == "lower it"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RequestError("x", code="unheard_of"), 400),
        (AccessError("x", code="unheard_of"), 403),
        (CapacityError("x", code="unheard_of"), 429),
        (TrustError("x", code="unheard_of"), 422),
        (StorageError("x", code="unheard_of"), 503),
        (HushnetError("x", code="unheard_of"), 500),
        (ValueError("x"), 500),
    ],
)
def test_a_code_without_a_row_falls_back_to_its_family(error: Exception, status: int) -> None:
    assert problems.problem_of(error).status == status


@pytest.mark.parametrize(
    "error",
    [ValueError("canary"), StorageError("canary"), LocalProtocolError("canary"), HushnetError("canary")],
)
def test_the_text_of_a_failure_here_never_reaches_a_caller(error: Exception) -> None:
    problem = problems.problem_of(error)
    assert b"canary" not in problems.openai_body(problem) + problems.problem_json(problem)


def test_retry_after_is_whole_seconds_from_one_to_sixty() -> None:
    def seconds(value: float | None) -> int | None:
        return problems.problem_of(CapacityError("x", retry_after_s=value)).retry_after_s

    assert [seconds(value) for value in (None, 0.0, 0.2, 1.2, 59.5, 1e9)] == [2, 1, 1, 2, 60, 60]
    assert problems.problem_of("storage").retry_after_s == 2
    assert problems.problem_of("not_found").retry_after_s is None


def test_the_openai_body_has_its_four_members() -> None:
    body = json.loads(problems.openai_body(problems.problem_of("invalid_api_key")))
    assert {"message", "type", "param", "code"} <= set(body["error"])
    assert body["error"]["code"] == "invalid_api_key"


def test_problem_json_has_status_title_and_code() -> None:
    body = json.loads(problems.problem_json(problems.problem_of("keys_stale")))
    assert (body["status"], body["code"], body["type"]) == (422, "keys_stale", "urn:hushnet:error:keys_stale")


def test_a_401_says_which_scheme_and_a_429_says_when() -> None:
    def headers(code: str) -> dict[bytes, bytes]:
        return dict(problems.problem_headers(problems.problem_of(code), content_type=b"x/y", length=3))

    assert headers("invalid_api_key")[b"www-authenticate"] == b"Bearer"
    assert headers("capacity")[b"retry-after"] == b"2"
    assert headers("capacity")[b"content-length"] == b"3"


def test_every_error_class_that_a_request_can_meet_has_a_row_or_a_family_with_one() -> None:
    for name in ("coordinator", "dialects", "wire", "sealing"):
        _import_all(f"hushnet.{name}")
    families = (RequestError, AccessError, CapacityError, TrustError, StorageError)
    for error in _subclasses(HushnetError):
        if error.__module__.startswith(("hushnet.coordinator", "hushnet.dialects", "hushnet.sealing")):
            has_row = error.code in problems.BY_CODE
            assert has_row or issubclass(error, families) or error.code in {"sealing"}, error


def test_every_code_that_the_source_raises_at_a_caller_has_a_row() -> None:
    missing = {}
    for path in (ROOT / "src" / "hushnet").rglob("*.py"):
        if path.parts[-2:-1] != ("settings",) and {"coordinator", "dialects"} & set(path.parts):
            missing |= dict.fromkeys(_codes_raised(ast.parse(path.read_text())) - set(problems.BY_CODE), path.name)
    assert not missing


def test_every_failure_of_serving_and_every_wire_code_has_a_row() -> None:
    codes = {code.value for code in FailureCode} | {code.label for code in WireCode}
    assert codes <= set(problems.BY_CODE)


def test_the_page_of_errors_has_not_drifted() -> None:
    assert (ROOT / "docs" / "errors.md").read_text() == problems.render_markdown(), "run `make docs`"


def _codes_raised(tree: ast.AST) -> set[str]:
    """Return the literal codes given to families whose errors reach callers."""
    found = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if name in {"RequestError", "AccessError", "CapacityError", "TrustError"}:
            found |= {
                word.value.value
                for word in node.keywords
                if word.arg == "code" and isinstance(word.value, ast.Constant)
            }
        elif name == "BadRequestError" and node.args and isinstance(node.args[0], ast.Constant):
            found.add(node.args[0].value)
    return found


def _import_all(name: str) -> None:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, f"{name}."):
        if "migrations" not in module.name:
            importlib.import_module(module.name)


def _subclasses(owner: type[HushnetError]) -> Iterator[type[HushnetError]]:
    for child in owner.__subclasses__():
        yield child
        yield from _subclasses(child)


assert hushnet.__doc__
