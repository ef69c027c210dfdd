"""Processors: a stage in the way of a layer's bytes.

    from transom.processor import Outcome, processor

    @processor
    def run(job, input, output):
        for chunk in input:
            output.write(chunk.upper())
        return Outcome()

The host makes a fresh instance for each layer, so nothing is kept from one to the next. What the plugin is called and what it
converts is taken from `plugin.toml`.
"""

import io

from componentize_py_types import Err
from wit_world.exports import stage

from . import IoFailed, begin, variant_of
from .project import CONVERSIONS, NAME, VERSION

__all__ = ["CHUNK", "LAYER_TAR", "Input", "Job", "Outcome", "Output", "Refused", "Tee", "processor"]

#: The media type of a plain layer.
LAYER_TAR = "application/vnd.oci.image.layer.v1.tar"

#: Bytes that are best read and written at a time.
CHUNK = 256 * 1024

#: Bytes of one call that writes. The interface sets the limit.
_WRITE_MAX = 4 * 1024 * 1024

_SEVERITIES = {
    "info": stage.Severity.INFO,
    "warning": stage.Severity.WARNING,
    "critical": stage.Severity.CRITICAL,
}


class Refused(Exception):
    """The layer may not be used. It ends the job, and the text is the reason."""


class Input(io.RawIOBase):
    """The bytes of the layer, as a file that cannot seek. Iterating gives chunks, not lines."""

    def __init__(self, reader):
        self._reader = reader
        self._rest = b""

    def readable(self):
        return True

    def chunk(self, most=CHUNK):
        """Between 1 and `most` bytes, or none at the end."""
        if self._rest:
            chunk, self._rest = self._rest[:most], self._rest[most:]
            return chunk
        try:
            return self._reader.read(most)
        except Err as error:
            raise IoFailed(error.value) from None

    def readinto(self, buffer):
        chunk = self.chunk(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def read(self, size=-1):
        """Up to `size` bytes, in one piece; all of them without a size, which a large layer has no memory for."""
        if size is None or size < 0:
            return b"".join(self)
        return self.chunk(min(size, CHUNK))

    def unread(self, chunk):
        """Puts bytes back in front."""
        self._rest = bytes(chunk) + self._rest

    def __next__(self):
        chunk = self.chunk()
        if not chunk:
            raise StopIteration
        return chunk


class Output:
    """Where the bytes go."""

    def __init__(self, writer):
        self._writer = writer

    def write(self, content):
        """Writes all of the bytes."""
        try:
            for at in range(0, len(content), _WRITE_MAX):
                self._writer.write(bytes(content[at : at + _WRITE_MAX]))
        except Err as error:
            raise IoFailed(error.value) from None
        return len(content)


class Tee:
    """A file that is read from the input while everything that is read goes to the output: what an inspector gives to `tarfile`.

        with tarfile.open(fileobj=Tee(input, output), mode="r|", bufsize=CHUNK) as tar: ...
    """

    def __init__(self, input, output):
        self._input = input
        self._output = output

    def read(self, size):
        # What is asked for in full: tarfile takes a short answer for the end.
        pieces = []
        while size > 0:
            chunk = self._input.chunk(min(size, CHUNK))
            if not chunk:
                break
            self._output.write(chunk)
            pieces.append(chunk)
            size -= len(chunk)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def drain(self):
        """Passes on what is left of the input."""
        for chunk in self._input:
            self._output.write(chunk)


class Job:
    """What is asked of the plugin."""

    def __init__(self, job):
        #: The media type of the input.
        self.input_media_type = job.input_media_type
        #: The media type that the output must have.
        self.output_media_type = job.output_media_type
        #: The layer's blob: `media_type`, `digest`, `size`.
        self.descriptor = job.descriptor
        #: The blob's annotations.
        self.annotations = dict(job.descriptor.annotations)
        #: A message for this stage, with `type_url` and `value`, or None.
        self.payload = job.payload
        #: The configuration, as `plugin.toml` declares it: a key without a value is missing.
        self.config = {key: value.value for key, value in job.config}


class Outcome:
    """What is said of the layer beside its bytes."""

    def __init__(self):
        self._annotations = []
        self._findings = []

    def annotate(self, key, value):
        """Records something with the layer. Keys are in reverse domain notation."""
        self._annotations.append((key, str(value)))
        return self

    def find(self, severity, rule, location, message):
        """Reports something: `severity` is `info`, `warning` or `critical`."""
        self._findings.append(stage.Finding(_SEVERITIES[severity], rule, location, message))
        return self

    @property
    def findings(self):
        """How many there are."""
        return len(self._findings)

    def _record(self, verdict):
        return stage.Outcome(sorted(self._annotations), self._findings, verdict)


_run = None


def processor(run):
    """Makes a function the processor: `run(job, input, output)`, which returns an `Outcome`, or nothing."""
    global _run
    _run = run
    return run


def describe():
    """What the plugin is. The component exports it."""
    return stage.Info(NAME, VERSION, [stage.Conversion(*both) for both in CONVERSIONS])


def run(job, reader, writer):
    """Runs the plugin on a layer. The component exports it."""
    begin()
    if _run is None:
        raise Err(variant_of(RuntimeError("no function of plugin.py is a @processor")))
    try:
        outcome = _run(Job(job), Input(reader), Output(writer)) or Outcome()
    except Refused as refused:
        return Outcome()._record(stage.Verdict_Refuse(str(refused)))
    except Exception as error:
        raise Err(variant_of(error)) from None
    return outcome._record(stage.Verdict_Continue())
