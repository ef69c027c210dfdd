"""Storage drivers that stand on another.

    from transom.driver import Layered, driver

    @driver
    class Turned(Layered):
        def encode(self, offset, content):
            return bytes((byte + 13) % 256 for byte in content)

        def decode(self, offset, kept):
            return bytes((byte - 13) % 256 for byte in kept)

`Layered` hands every call to the driver below. Its two functions change the bytes on the way, one for one. Whatever else is to
be different is a method to be overridden: they are those of `wit/storage/storage.wit`. Readers, writers and entries are objects
with the methods that they have there; the static ones have no parameter for the writer.
"""

from componentize_py_types import Err
from wit_world.exports import driver as exported
from wit_world.exports import plugin
from wit_world.imports import driver as below
from wit_world.imports import settings, storage_types

from . import Misconfigured, begin, variant_of
from .project import NAME, VERSION

__all__ = ["Failed", "Layered", "Writer", "config", "driver", "secret"]


class Failed(Exception):
    """A call failed: the value is an error of `wit_world.imports.storage_types`."""

    def __init__(self, value):
        super().__init__(type(value).__name__)
        self.value = value


def config():
    """The configuration, as `plugin.toml` declares it: a key without a value is missing."""
    return {key: value.value for key, value in settings.config()}


def secret(name):
    """A secret that `plugin.toml` declares, or None if the operator has given none."""
    found = settings.secret_of(name)
    return None if found is None else found.reveal()


class _Reader:
    """Content of the driver below that is being read, and changed on the way."""

    def __init__(self, driver, reader, offset):
        self._driver = driver
        self._reader = reader
        self._offset = offset

    def read(self, max):
        kept = self._reader.read(max)
        content = self._driver.decode(self._offset, kept)
        self._offset += len(kept)
        return content


class Writer:
    """Content of the driver below that is being written, and changed on the way."""

    def __init__(self, driver, writer):
        self._driver = driver
        self._writer = writer

    def size(self):
        return self._writer.size()

    def write(self, bytes):
        self._writer.write(self._driver.encode(self._writer.size(), bytes))

    def commit(self):
        below.Writer.commit(self._writer)

    def commit_to(self, to):
        below.Writer.commit_to(self._writer, to)

    def close(self):
        below.Writer.close(self._writer)

    def cancel(self):
        below.Writer.cancel(self._writer)


class Layered:
    """A driver that does what the one below does."""

    def encode(self, offset, content):
        """What is kept of content that stands at an offset: as many bytes."""
        return content

    def decode(self, offset, kept):
        """The other way round."""
        return kept

    def capabilities_of(self):
        # A client that fetches from the store itself would get what is kept.
        return below.capabilities_of() & ~storage_types.Capabilities.REDIRECTS

    def get(self, path, limit):
        return self.decode(0, below.get(path, limit))

    def put(self, path, content, condition):
        below.put(path, self.encode(0, content), condition)

    def read(self, path, offset):
        content = below.read(path, offset)
        return exported.Content(content.file, _Reader(self, content.reader, offset))

    def open_writer(self, path, mode):
        return Writer(self, below.open_writer(path, mode))

    def stat(self, path):
        return below.stat(path)

    def children(self, folder):
        return below.children(folder)

    def rename(self, source, to):
        below.rename(source, to)

    def delete(self, path):
        below.delete(path)

    def redirect(self, path, method, seconds):
        return None

    def walk(self, folder, after):
        return below.walk(folder, after)


_kind = Layered
_driver = None


def driver(kind):
    """Makes a class the driver. An object of it is made when the driver is opened; it may look at `config()` then."""
    global _kind
    _kind = kind
    return kind


def describe():
    """What the plugin is. The component exports it."""
    return plugin.Info(NAME, VERSION)


def open():
    """Begins. The component exports it."""
    global _driver
    begin()
    try:
        _driver = _kind()
    except Misconfigured as error:
        raise Err(plugin.OpenError_Config(error.variant().value)) from None
    except Exception as error:
        raise Err(plugin.OpenError_Other(str(variant_of(error).value))) from None


def guarded(function, *arguments):
    """Calls a function, and makes what it raises the host's. Errors of the driver below are passed on as they are."""
    try:
        return function(*arguments)
    except Err:
        raise
    except Failed as failed:
        raise Err(failed.value) from None
    except Exception as error:
        raise Err(storage_types.Error_Other(str(variant_of(error).value))) from None


def call(name, *arguments):
    """A call of the driver. The component exports them all."""
    return guarded(getattr(_driver, name), *arguments)
