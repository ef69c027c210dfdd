"""A storage driver that stands on another and keeps everything turned by 13."""

from transom.driver import Layered, driver

TURNED = bytes((byte + 13) % 256 for byte in range(256))
BACK = bytes((byte - 13) % 256 for byte in range(256))


@driver
class Turned(Layered):
    def encode(self, offset, content):
        return content.translate(TURNED)

    def decode(self, offset, kept):
        return kept.translate(BACK)
