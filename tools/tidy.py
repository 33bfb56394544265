"""Print what is too large or badly named; exit 1 when something is not in the exception list.

The exception list (tools/tidy_exceptions.toml) carries a reason an entry and may only shrink: an entry that is no
longer needed fails the check too.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "hushnet"
EXCEPTIONS = ROOT / "tools" / "tidy_exceptions.toml"

MODULE_LINES_MAX = 400
TEST_MODULE_LINES_MAX = 600
FUNCTION_LINES_MAX = 60
PROTOCOL_METHODS_MAX = 8
PACKAGE_MODULES_MAX = 16
VAGUE_NAMES = frozenset({"utils", "util", "helpers", "helper", "common", "manager", "misc"})


def main() -> int:
    """Compare the outliers with the exceptions; return the process's exit status."""
    allowed = tomllib.loads(EXCEPTIONS.read_text()) if EXCEPTIONS.exists() else {}
    found = dict(outliers())
    problems = [f"{place}: {text}" for place, text in found.items() if place not in allowed]
    problems += [
        f"{place}: listed in {EXCEPTIONS.name} and no longer an outlier" for place in allowed if place not in found
    ]
    problems += [
        f"{place}: the exception gives no reason" for place, reason in allowed.items() if not str(reason).strip()
    ]
    for problem in sorted(problems):
        print(problem)
    print(f"tidy: {len(problems)} to mend, {len(allowed)} excepted")
    return 1 if problems else 0


def outliers() -> Iterator[tuple[str, str]]:
    """Yield (place, what is wrong) for source and tests."""
    for path in sorted(SOURCE.rglob("*.py")):
        yield from module_outliers(path, MODULE_LINES_MAX)
    for path in sorted((ROOT / "tests").rglob("*.py")):
        yield from module_outliers(path, TEST_MODULE_LINES_MAX)
    for package in sorted({path.parent for path in SOURCE.rglob("*.py")}):
        modules = [path for path in package.glob("*.py") if path.stem != "__init__"]
        if len(modules) > PACKAGE_MODULES_MAX and "versions" not in package.parts:
            yield (
                str(package.relative_to(ROOT)),
                f"{len(modules)} modules (at most {PACKAGE_MODULES_MAX}): split by noun",
            )


def module_outliers(path: Path, lines_max: int) -> Iterator[tuple[str, str]]:
    """Yield the outliers of one module: its size, name, docstring, functions and protocols."""
    place = str(path.relative_to(ROOT))
    text = path.read_text()
    tree = ast.parse(text)
    if (count := text.count("\n")) > lines_max:
        yield place, f"{count} lines (at most {lines_max})"
    if path.stem in VAGUE_NAMES:
        yield f"{place}:name", f"'{path.stem}' names nothing"
    if tree.body and not ast.get_docstring(tree):
        yield f"{place}:docstring", "the module does not say what it is"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            if (length := node.end_lineno - node.lineno + 1) > FUNCTION_LINES_MAX:
                yield f"{place}:{node.name}", f"{length} lines (at most {FUNCTION_LINES_MAX})"
        elif isinstance(node, ast.ClassDef) and any(_name(base) == "Protocol" for base in node.bases):
            methods = [item for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)]
            if len(methods) > PROTOCOL_METHODS_MAX:
                yield f"{place}:{node.name}", f"{len(methods)} methods (at most {PROTOCOL_METHODS_MAX})"


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Subscript):
        return _name(node.value)
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


if __name__ == "__main__":
    sys.exit(main())
