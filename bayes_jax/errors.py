"""The one exception for input that is wrong: its message is a single line a person can act on."""


class InputError(ValueError):
    """Input that cannot be used; the message names it, the value found and what was expected.

    Scripts turn it into one line on standard error and a non-zero exit code. Anything else that is
    raised is a defect of ours and keeps its traceback.
    """
