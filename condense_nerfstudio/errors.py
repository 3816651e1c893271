"""The one exception for mistakes that a user can mend."""


class UserError(Exception):
    """A mistake that the user can mend.

    Its text is one sentence that names the file or flag at fault and says what to do. The `condense` command and the
    ns-* commands print it and exit with status 1; no traceback is shown.
    """
