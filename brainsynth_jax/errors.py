"""The error that is meant for the person at the keyboard."""


class UserError(Exception):
    """A mistake in flags, files or data that the user can mend.

    Its text is one clear message: the thing (file or flag), the value found, what is allowed,
    and the way out. Scripts print it after `error:` and exit with status 2, without traceback.
    """
