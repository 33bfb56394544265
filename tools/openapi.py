"""The OpenAPI document of the coordinator, read out of the handlers themselves: no second table that can drift.

For each `route(PATH, {METHOD: handler})` under `coordinator/api` the summary is the first sentence of the handler's
docstring, the body is the msgspec Struct that it hands to `read_json`, the query parameters are those that it looks up,
and the key is of the scope that it authenticates. What inference requests look like is OpenAI's and Anthropic's to
document; this says where they are. Answers are described in docs/http.md.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType
from typing import Any, Final

import msgspec

API: Final = Path(__file__).resolve().parent.parent / "src" / "hushnet" / "coordinator" / "api"
_PACKAGE: Final = "hushnet.coordinator.api"
_CHAT: Final = "/v1/chat/completions"


@dataclass(slots=True)
class Handler:
    """What one handler's source says."""

    summary: str
    description: str
    scopes: list[str]
    body: Any = None
    queries: list[str] = field(default_factory=list)


def render() -> str:
    """Return the document as indented JSON."""
    return json.dumps(document(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def document() -> dict[str, Any]:
    """Return the document."""
    found = sorted(operations(), key=lambda item: (item[0], item[1]))
    bodies = {handler.body for _, _, _, handler in found if handler.body is not None}
    by_body, components = _schemas(sorted(bodies, key=lambda body: (body.__module__, body.__name__)))
    paths: dict[str, Any] = {_CHAT: {"post": _chat()}}
    for path, method, tag, handler in found:
        paths.setdefault(_templated(path), {})[method] = _operation(path, method, tag, handler, by_body)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Hushnet coordinator",
            "version": "1",
            "description": "Amounts are integers in micro-USD (10^-6 USD), or text like 12.34 where a person types them.",
        },
        "paths": paths,
        "components": {
            "schemas": {**components, "Error": _ERROR},
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key: hk_user_…, hk_provider_…, hk_operator_…",
                }
            },
            "responses": {
                "Error": {
                    "description": "An error with a stable code (docs/errors.md)",
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
                }
            },
        },
    }


def _schemas(bodies: list[Any]) -> tuple[dict[Any, Any], dict[str, Any]]:
    """Return each body's reference and every component; an operator's bodies carry a prefix, so that names are unique."""
    references: dict[Any, Any] = {}
    components: dict[str, Any] = {}
    for body in bodies:
        prefix = "Admin" if ".admin" in body.__module__ else ""
        (reference,), own = msgspec.json.schema_components(
            (body,), ref_template=f"#/components/schemas/{prefix}{{name}}"
        )
        references[body] = reference
        for name, schema in own.items():
            if components.setdefault(prefix + name, schema) != schema:
                raise SystemExit(f"openapi: two different bodies are called {prefix}{name}; rename one")
    return references, components


def operations() -> Iterator[tuple[str, str, str, Handler]]:
    """Yield (path, method, tag, handler) of every route in the package."""
    for file in sorted(API.rglob("*.py")):
        tree = ast.parse(file.read_text())
        name = ".".join((_PACKAGE, *file.relative_to(API).with_suffix("").parts)).removesuffix(".__init__")
        functions = _functions(tree)
        for call in ast.walk(tree):
            if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "route"):
                continue
            path, methods = call.args
            module = importlib.import_module(name)
            text = path.value if isinstance(path, ast.Constant) else getattr(module, ast.unparse(path))
            assert isinstance(methods, ast.Dict), f"{name}: {text}"
            for method, target in zip(methods.keys, methods.values, strict=True):
                assert isinstance(method, ast.Constant)
                function = functions[target.attr if isinstance(target, ast.Attribute) else ast.unparse(target)]
                yield str(text), method.value.lower(), _tag(text), _handler(function, functions, module)


def _handler(function: ast.AST, functions: dict[str, Any], module: Any) -> Handler:
    doc = ast.get_docstring(function) or ""  # type: ignore[arg-type]  # a function
    words = doc or function.name.replace("_", " ").capitalize()  # type: ignore[attr-defined]  # a function
    summary, _, rest = words.partition("\n\n")
    handler = Handler(" ".join(summary.split()).rstrip("."), " ".join(rest.split()), [])
    _look_into(function, functions, module, handler, seen=set())
    return handler


def _look_into(node: ast.AST, functions: dict[str, Any], module: Any, handler: Handler, *, seen: set[str]) -> None:
    """Note what a function reads, and what the functions of this package that it calls read for it."""
    for inner in ast.walk(node):
        if not isinstance(inner, ast.Call):
            continue
        called = inner.func.attr if isinstance(inner.func, ast.Attribute) else getattr(inner.func, "id", "")
        if called == "authenticate":
            scope = ast.unparse(inner.args[1]).rpartition(".")[2].lower()
            if scope not in handler.scopes:
                handler.scopes.append(scope)
        if called in ("read_json", "decode_json"):
            handler.body = getattr(module, ast.unparse(inner.args[1]))
            continue
        name = _query_name(inner, called)
        if name is not None and name not in handler.queries:
            handler.queries.append(name)
        if called in seen:
            continue
        if called in functions:
            seen.add(called)
            _look_into(functions[called], functions, module, handler, seen=seen)
        elif isinstance(reader := getattr(module, called, None), FunctionType) and reader.__module__.startswith(
            _PACKAGE
        ):
            seen.add(called)
            source = importlib.import_module(reader.__module__)
            readers = _functions(ast.parse(inspect.getsource(source)))
            _look_into(readers[called], readers, source, handler, seen=seen)


def _query_name(call: ast.Call, called: str) -> str | None:
    """Return the query parameter that a call names: `query.get("limit")`, or `read(query, "limit")`."""
    if called == "get" and isinstance(call.func, ast.Attribute):
        owner, names = ast.unparse(call.func.value), call.args[:1]
    else:
        owner, names = ast.unparse(call.args[0]) if call.args else "", call.args[1:2]
    is_query = owner == "query" or owner.endswith("query_params")
    if is_query and names and isinstance(names[0], ast.Constant) and isinstance(names[0].value, str):
        return names[0].value
    return None


def _functions(tree: ast.AST) -> dict[str, Any]:
    return {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def _operation(path: str, method: str, tag: str, handler: Handler, schemas: dict[Any, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": f"{method}_{re.sub(r'[^a-z0-9]+', '_', path.removeprefix('/v1/').lower()).strip('_')}",
        "summary": handler.summary,
        "tags": [tag],
        "responses": {
            "2XX": {"description": "Done; docs/http.md shows the answer"},
            "default": {"$ref": "#/components/responses/Error"},
        },
    }
    if handler.description:
        found["description"] = handler.description
    if handler.scopes:
        found["security"] = [{"key": []}]
        found["x-hushnet-scopes"] = sorted(handler.scopes)
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)(?::\w+)?\}", path)
    ] + [{"name": name, "in": "query", "schema": {"type": "string"}} for name in sorted(handler.queries)]
    if parameters:
        found["parameters"] = parameters
    if handler.body is not None:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": schemas[handler.body]}}}
    return found


def _chat() -> dict[str, Any]:
    return {
        "operationId": "post_chat_completions",
        "summary": "Answer a chat, as OpenAI's API does; a sealed envelope goes to the same address",
        "tags": ["inference"],
        "security": [{"key": []}],
        "x-hushnet-scopes": ["user"],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"type": "object", "required": ["model", "messages"]}},
                "application/vnd.hushnet.sealed-request": {"schema": {"type": "string", "format": "binary"}},
            },
        },
        "responses": {
            "200": {"description": "A completion, or a stream of events"},
            "default": {"$ref": "#/components/responses/Error"},
        },
    }


def _templated(path: str) -> str:
    return re.sub(r"\{(\w+):\w+\}", r"{\1}", path)


def _tag(path: str) -> str:
    parts = path.strip("/").split("/")
    if parts[0] != "v1" or len(parts) < 2:
        return "service"
    return f"admin {parts[2]}" if parts[1] == "admin" and len(parts) > 2 else parts[1]


_ERROR: Final = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "type"],
            "properties": {
                "code": {"type": "string"},
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "hint": {"type": "string"},
            },
        }
    },
}
