"""JSON schemas as GBNF grammars, so that an engine can only write what the schema allows; pure.

Why not the engine's own conversion: llama.cpp's ignores what it does not know, prints schemas to standard error, and can
be kept busy for minutes by a schema of 100 KB; llguidance falls back to no constraint at all. Here a schema either
compiles within fixed bounds into a grammar that is *sound* (everything it accepts is valid), or is refused with the
keyword that stood in the way. Sound is not complete: of a schema's valid texts some are never written, such as
properties that are allowed but not declared.
"""

from hushnet.provider.engines.grammar.rules import UnsupportedSchema
from hushnet.provider.engines.grammar.schema import compile_format

__all__ = ["UnsupportedSchema", "compile_format"]
