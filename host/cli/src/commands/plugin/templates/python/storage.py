"""A storage driver that stands on another and keeps everything turned by 13."""

from transom.driver import Layered, driver

_TURNED = bytes((byte + 13) % 256 for byte in range(256))
_BACK = bytes((byte - 13) % 256 for byte in range(256))


@driver
class Turned(Layered):
    def encode(self, offset, content):
        return content.translate(_TURNED)

    def decode(self, offset, kept):
        return kept.translate(_BACK)
