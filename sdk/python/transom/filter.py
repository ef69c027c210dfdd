"""Label filters: which records a list shows, by an expression.

    from transom.filter import filter

    @filter(example="1000000")
    def compile(expression):
        least = int(expression)
        return lambda record: (record.size or 0) >= least
"""

from datetime import datetime, timedelta, timezone

from componentize_py_types import Err
from wit_world.exports import matching

from . import begin, variant_of
from .project import NAME, VERSION

__all__ = ["Record", "filter"]

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Record:
    """What is known of one record. What its kind does not have is None."""

    def __init__(self, batch, text, facts):
        self._batch = batch
        self._text = text
        self._facts = facts

    def _piece(self, span):
        return None if span is None else self._text[span.at : span.at + span.length].decode()

    def _pairs(self, pairs):
        if pairs is None:
            return {}
        found = self._batch.pairs[pairs.first : pairs.first + pairs.count]
        return {self._piece(pair.key): self._piece(pair.value) for pair in found}

    @property
    def kind(self):
        """`image`, `content`, `ingest`, `lease`, `snapshot` or `event`."""
        return self._piece(self._facts.kind)

    @property
    def name(self):
        """Its name, key, id or ref."""
        return self._piece(self._facts.name)

    @property
    def digest(self):
        """Its digest; of an image, its target's."""
        return self._piece(self._facts.digest)

    @property
    def media_type(self):
        """Its media type; of an image, its target's."""
        return self._piece(self._facts.media_type)

    @property
    def size(self):
        """Its size in bytes; of an image, its target's."""
        return self._facts.size

    @property
    def created(self):
        """When it was made, as a `datetime` in UTC."""
        return _time(self._facts.created)

    @property
    def updated(self):
        """When it was last changed, as a `datetime` in UTC."""
        return _time(self._facts.updated)

    @property
    def labels(self):
        """Its labels, as a dictionary."""
        return self._pairs(self._facts.labels)

    @property
    def annotations(self):
        """The annotations of its descriptor, as a dictionary."""
        return self._pairs(self._facts.annotations)


def _time(instant):
    if instant is None:
        return None
    return _EPOCH + timedelta(seconds=instant.seconds, microseconds=instant.nanoseconds // 1000)


_compile = None
_example = ""


def filter(example):
    """Makes a function the filter: it understands an expression, and returns a function that says whether a record matches."""

    def make(compile):
        global _compile, _example
        _compile, _example = compile, example
        return compile

    return make


def describe():
    """What the plugin is. The component exports it."""
    return matching.Info(NAME, VERSION, _example)


class Matcher:
    """An expression that was understood. The component exports it."""

    def __init__(self, expression):
        begin()
        try:
            self._matches = _compile(expression)
        except Exception as error:
            raise Err(variant_of(error)) from None

    def matches(self, batch):
        """One bit for each record."""
        text = batch.text.encode()
        bits = bytearray((len(batch.records) + 7) // 8)
        try:
            for number, facts in enumerate(batch.records):
                if self._matches(Record(batch, text, facts)):
                    bits[number // 8] |= 1 << number % 8
        except Exception as error:
            raise Err(variant_of(error)) from None
        return bytes(bits)
