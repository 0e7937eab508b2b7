"""The one error that is meant for users."""


class UserError(ValueError):
    """Something a user gave is wrong: one line that names it, its value and what is allowed.

    `num_steps: got 300, allowed are whole numbers from 1 to 256`. Launch scripts show the line and
    exit with 2. Any other ValueError is a defect of ours and keeps its traceback.
    """
