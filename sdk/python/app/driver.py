"""What the component of a storage driver exports."""

import plugin  # noqa: F401: it says what the driver does
from transom import driver
from wit_world import exports


class Plugin(exports.Plugin):
    def describe(self):
        return driver.describe()

    def open(self):
        driver.open()


class Driver(exports.Driver):
    def capabilities_of(self):
        return driver.call("capabilities_of")

    def get(self, path, limit):
        return driver.call("get", path, limit)

    def put(self, path, content, condition):
        driver.call("put", path, content, condition)

    def read(self, path, offset):
        return driver.call("read", path, offset)

    def open_writer(self, path, mode):
        return driver.call("open_writer", path, mode)

    def stat(self, path):
        return driver.call("stat", path)

    def children(self, folder):
        return driver.call("children", folder)

    def rename(self, source, to):
        driver.call("rename", source, to)

    def delete(self, path):
        driver.call("delete", path)

    def redirect(self, path, method, seconds):
        return driver.call("redirect", path, method, seconds)

    def walk(self, folder, after):
        return driver.call("walk", folder, after)
