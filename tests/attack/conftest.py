"""A system of real processes."""

from tests.integration.conftest import system

__all__ = ["system"]
