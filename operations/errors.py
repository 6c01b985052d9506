"""The error every verb raises for a person's mistake."""


class OperationError(Exception):
    """Something cannot be done; the message is one sentence saying what is wrong and what to do."""
