"""The resources of the interface `driver`, where the component looks for them: in a module of its name."""

from transom.driver import Entries, Reader, Writer  # noqa: F401
