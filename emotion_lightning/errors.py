"""A user's mistakes: said in one line, with the exit status that the command line ends with."""


class EmotionError(Exception):
    """Base of every error a user can mend; its text names the file, option or value and says what to do."""

    exit_status = 1


class DataError(EmotionError):
    """The data or a file is not as it should be (exit status 1)."""


class UsageError(EmotionError):
    """An option or a combination of options cannot work (exit status 2)."""

    exit_status = 2
