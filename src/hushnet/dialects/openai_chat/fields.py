"""Checked reading of one JSON object's members: every error names the member and never shows its value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hushnet.foundation.errors import RequestError


class BadRequestError(RequestError):
    """A request body that this dialect does not take; `param` is the path of the member at fault.

    Codes: `invalid_json`, `json_too_deep`, `missing_member`, `wrong_type`, `out_of_range`, `unsupported_value`.
    """

    def __init__(self, code: str, message: str, *, param: str | None = None) -> None:
        super().__init__(message, code=code)
        self.param = param


class Members:
    """The members of one JSON object at `path`. An absent member and null are the same: None."""

    __slots__ = ("_path", "_values")

    def __init__(self, values: Mapping[str, Any], path: str = "") -> None:
        self._values = values
        self._path = path

    def path(self, name: str) -> str:
        """Spell the full path of member `name`."""
        return f"{self._path}.{name}" if self._path else name

    def any(self, name: str) -> Any:
        """Return the member unchecked."""
        return self._values.get(name)

    def boolean(self, name: str) -> bool:
        """Return a boolean; absent is false."""
        value = self._values.get(name)
        if value is None:
            return False
        if type(value) is not bool:
            raise self._wrong_type(name, "a boolean")
        return value

    def integer(self, name: str, low: int, high: int) -> int | None:
        """Return an integer in `low..high`; neither a boolean nor 1.0 is one."""
        value = self._values.get(name)
        if value is None:
            return None
        if type(value) is not int:
            raise self._wrong_type(name, "an integer")
        if not low <= value <= high:
            raise self._out_of_range(name, low, high)
        return value

    def number(self, name: str, low: float, high: float) -> float | None:
        """Return a finite number in `low..high`."""
        value = self._values.get(name)
        if value is None:
            return None
        if type(value) is not float and type(value) is not int:
            raise self._wrong_type(name, "a number")
        if not low <= value <= high:
            raise self._out_of_range(name, low, high)
        return float(value)

    def text(self, name: str, *, at_most: int) -> str | None:
        """Return a string of at most `at_most` characters."""
        value = self._values.get(name)
        if value is None:
            return None
        if type(value) is not str:
            raise self._wrong_type(name, "a string")
        if len(value) > at_most:
            raise BadRequestError("out_of_range", f"at most {at_most} characters", param=self.path(name))
        return value

    def required_text(self, name: str, *, at_most: int) -> str:
        """Return a string that must be there and not empty."""
        value = self.text(name, at_most=at_most)
        if not value:
            raise self.missing(name)
        return value

    def items(self, name: str, *, at_most: int) -> list[Any] | None:
        """Return an array of at most `at_most` members."""
        value = self._values.get(name)
        if value is None:
            return None
        if type(value) is not list:
            raise self._wrong_type(name, "an array")
        if len(value) > at_most:
            raise BadRequestError("out_of_range", f"at most {at_most} members", param=self.path(name))
        return value

    def members(self, name: str) -> Members | None:
        """Return an object."""
        value = self._values.get(name)
        return None if value is None else members_of(value, self.path(name))

    def values(self) -> Mapping[str, Any]:
        """Return the object itself."""
        return self._values

    def missing(self, name: str) -> BadRequestError:
        """Make the error for a member that must be there."""
        return BadRequestError("missing_member", f"{self.path(name)} is required", param=self.path(name))

    def unsupported(self, name: str, hint: str) -> BadRequestError:
        """Make the error for a value that this network does not serve."""
        return BadRequestError("unsupported_value", f"{self.path(name)}: {hint}", param=self.path(name))

    def _wrong_type(self, name: str, wanted: str) -> BadRequestError:
        return BadRequestError("wrong_type", f"{self.path(name)} must be {wanted}", param=self.path(name))

    def _out_of_range(self, name: str, low: float, high: float) -> BadRequestError:
        return BadRequestError("out_of_range", f"{self.path(name)} must be in {low}..{high}", param=self.path(name))


def members_of(value: Any, path: str) -> Members:
    """Read `value` as an object, or raise `BadRequestError`."""
    if type(value) is not dict:
        raise BadRequestError("wrong_type", f"{path or 'the body'} must be an object", param=path or None)
    return Members(value, path)
