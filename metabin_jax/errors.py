"""The one exception that stands for a user's mistake."""


class UserError(ValueError):
  """A mistake that the user can mend.

  The message is one sentence that names what was wrong, what is allowed and
  how to mend it. Commands print it without a traceback and exit with status 2.
  """
