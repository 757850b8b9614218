"""What the command line itself refuses.

    CommandError                exit code 2
    ├── UnknownArtefactError    verify and info find nothing that they know at the path
    └── UnknownSuiteError       bench has no suite of that name

The rooms draw their own trees in their `errors.py`; every class that carries an `exit_code` is a
message for the user and is shown without a traceback.
"""


class CommandError(Exception):
    """A command can't be carried out as it was typed; the message says what to type instead."""

    exit_code = 2


class UnknownArtefactError(CommandError):
    """Nothing that `verify` or `info` knows lies at the path."""


class UnknownSuiteError(CommandError):
    """`bench` was asked for a suite that doesn't exist."""
