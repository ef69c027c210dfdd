"""What every plugin in Python has: a log, and words for what goes wrong.

A function of a plugin fails by raising one of the errors here. Anything else that it raises is reported as well, with the
traceback: it is taken for a mistake in the plugin.
"""

import io
import sys
import traceback

from wit_world.imports import common_types
from wit_world.imports import log as _host

__all__ = ["Corrupt", "Denied", "Failure", "IoFailed", "Limit", "Misconfigured", "Unsupported", "log"]

#: Bytes of a text in an error; the end of a traceback tells most.
_TEXT_MAX = 4000


class Failure(Exception):
    """Something else than the named errors."""

    def variant(self):
        """The error as the host has it."""
        return common_types.Error_Other(str(self))


class Unsupported(Failure):
    """The input is well formed, but uses something that this plugin does not do."""

    def variant(self):
        return common_types.Error_Unsupported(str(self))


class Corrupt(Failure):
    """The input is damaged; `offset` says where, in bytes from the start of the input, if that is known."""

    def __init__(self, message, offset=None):
        super().__init__(message)
        self.offset = offset

    def variant(self):
        return common_types.Error_Corrupt(common_types.Corruption(self.offset, str(self)))


class Denied(Failure):
    """The plugin needs something that it was not granted."""

    def variant(self):
        return common_types.Error_Denied(str(self))


class Misconfigured(Failure):
    """The value of a configuration key is one that the plugin cannot work with."""

    def __init__(self, key, message):
        super().__init__(message)
        self.key = key

    def variant(self):
        return common_types.Error_Config(common_types.ConfigError(self.key, str(self)))


class Limit(Failure):
    """A limit that the plugin itself sets was met. The text says which, and how to raise it."""

    def variant(self):
        return common_types.Error_Limit(str(self))


class IoFailed(Failure):
    """A stream of the host failed. A plugin need not catch it: the host knows why."""

    def __init__(self, value):
        super().__init__(type(value).__name__.removeprefix("IoError_").lower())
        self.value = value

    def variant(self):
        return common_types.Error_Io(self.value)


def variant_of(error):
    """What an exception is to the host."""
    if isinstance(error, Failure):
        return error.variant()
    text = "".join(traceback.format_exception(error))
    return common_types.Error_Other(text[-_TEXT_MAX:])


class log:
    """Lines for the host's log. It adds who says it, and of which layer. Nothing secret belongs there."""

    @staticmethod
    def trace(message):
        _host.log(_host.Level.TRACE, str(message))

    @staticmethod
    def debug(message):
        _host.log(_host.Level.DEBUG, str(message))

    @staticmethod
    def info(message):
        _host.log(_host.Level.INFO, str(message))

    @staticmethod
    def warn(message):
        _host.log(_host.Level.WARN, str(message))

    @staticmethod
    def error(message):
        _host.log(_host.Level.ERROR, str(message))


class _Lines(io.TextIOBase):
    """What is printed goes to the log, line by line: a plugin has no other place for it."""

    def __init__(self, say):
        self._say = say
        self._begun = ""

    def writable(self):
        return True

    def write(self, text):
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            self._say(line)
        return len(text)


def begin():
    """Lets what is printed go to the log. The SDK calls it first in each instance: while the component is built there is no host."""
    if not isinstance(sys.stdout, _Lines):
        sys.stdout, sys.stderr = _Lines(log.info), _Lines(log.warn)
