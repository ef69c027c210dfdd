"""Records of at least so many bytes: `wasm."{name}"==1000000`."""

from transom import Failure
from transom.filter import filter


@filter(example="1000000")
def compile(expression):
    if not expression.isdecimal():
        raise Failure(f"a number of bytes is wanted: {expression}")
    least = int(expression)
    return lambda record: record.size is not None and record.size >= least
