"""A money store on each database."""

from support.money import money

__all__ = ["money"]
