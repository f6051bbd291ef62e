"""Commands are tried on runs of the tiny network, made as in tests/runs/."""

from tests.runs.conftest import finish, tiny

__all__ = ["finish", "tiny"]
