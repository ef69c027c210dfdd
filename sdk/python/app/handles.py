"""The resources of a storage driver's component: it looks for them in a module that is called like the interface, `driver`."""

from transom.driver import guarded

#: The objects that the host has handles of, by the address that the interpreter knows them by.
_held = {}


class _Held:
    """An object that the host has a handle of, with an object of the driver's in it.

    The interpreter never lets go of such an object. So it is used again once the host has dropped the handle, and what is in it
    goes at once.
    """

    @classmethod
    def of(cls, own):
        """One with this in it."""
        held = cls._spare.pop() if cls._spare else cls()
        held.own = own
        _held[id(held)] = held
        return held

    def let_go(self):
        """The host has dropped the handle."""
        finalizer = self.__dict__.get("finalizer")
        if finalizer is not None:
            # It would drop a handle that is the host's.
            finalizer.detach()
        self.__dict__.clear()
        self._spare.append(self)


class Reader(_Held):
    _spare = []

    def read(self, max):
        return guarded(self.own.read, max)


class Writer(_Held):
    _spare = []

    def size(self):
        return self.own.size()

    def write(self, bytes):
        guarded(self.own.write, bytes)

    @classmethod
    def commit(cls, writer):
        guarded(writer.own.commit)

    @classmethod
    def commit_to(cls, writer, to):
        guarded(writer.own.commit_to, to)

    @classmethod
    def close(cls, writer):
        guarded(writer.own.close)

    @classmethod
    def cancel(cls, writer):
        guarded(writer.own.cancel)


class Entries(_Held):
    _spare = []

    def next(self, max):
        return guarded(self.own.next, max)

    def skip(self, folder):
        self.own.skip(folder)


def let_go(address):
    """The host has dropped the handle of an object. `plugin build` sees to it that the component is told."""
    held = _held.pop(address, None)
    if held is not None:
        held.let_go()
