"""What the component of a storage driver exports."""

import driver as handles
import plugin  # noqa: F401: it says what the driver does
import wit_world
from driver import Entries, Reader, Writer
from transom import driver
from transom.driver import call
from wit_world import exports
from wit_world.exports import driver as types


class WitWorld(wit_world.WitWorld):
    def let_go(self, address):
        handles.let_go(address)


class Plugin(exports.Plugin):
    def describe(self):
        return driver.describe()

    def open(self):
        driver.open()


class Driver(exports.Driver):
    def capabilities_of(self):
        return call("capabilities_of")

    def get(self, path, limit):
        return call("get", path, limit)

    def put(self, path, content, condition):
        call("put", path, content, condition)

    def read(self, path, offset):
        content = call("read", path, offset)
        return types.Content(content.file, Reader.of(content.reader))

    def open_writer(self, path, mode):
        return Writer.of(call("open_writer", path, mode))

    def stat(self, path):
        return call("stat", path)

    def children(self, folder):
        return Entries.of(call("children", folder))

    def rename(self, source, to):
        call("rename", source, to)

    def delete(self, path):
        call("delete", path)

    def redirect(self, path, method, seconds):
        return call("redirect", path, method, seconds)

    def walk(self, folder, after):
        return Entries.of(call("walk", folder, after))
