"""A reporter for tests of what is said while training."""

from __future__ import annotations

from facegan.training.reporter import Silent


class Warned(Silent):
    """Keeps what it is warned of."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def warn(self, message: str) -> None:
        self.messages.append(message)
