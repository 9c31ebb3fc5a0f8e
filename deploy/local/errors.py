"""The one error of a local run: a line a person can act on."""


class RunError(Exception):
    """A run cannot go on; the message is one clear line, `details` the lines shown beneath it."""

    def __init__(self, message: str, *, details: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.details = details
