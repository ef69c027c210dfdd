"""What the component of a label filter exports."""

import plugin  # noqa: F401: it says what an expression means
from transom import filter
from transom.filter import Matcher
from wit_world import exports


class Matching(exports.Matching):
    def describe(self):
        return filter.describe()

    def compile(self, expression):
        return Matcher(expression)
