"""The errors that a user can do something about: the fact, then the remedy.

In: the base class and what `resources` itself raises. Out: programming errors, which stay ordinary exceptions.
"""


class SynthError(Exception):
    """A mistake or a mishap outside the code; `str()` is the fact and the remedy in one message."""

    def __init__(self, fact: str, remedy: str = "") -> None:
        self.fact = fact
        self.remedy = remedy
        super().__init__(f"{fact} {remedy}".strip())


class SettingError(SynthError):
    """A setting that cannot be understood: names the setting, its value and what is accepted."""


class ServerError(SynthError):
    """The model server cannot be used."""


class ServerUnreachableError(ServerError):
    """Nothing answers at the server's address."""


class ModelNotServedError(ServerError):
    """The server answers, but does not serve the configured model, or serves several and none is configured."""


class LakeError(SynthError):
    """The lake cannot be opened, or a transaction kept failing."""
