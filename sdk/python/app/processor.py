"""What the component of a processor exports."""

import plugin  # noqa: F401: it says what is run
from transom import processor
from wit_world import exports


class Stage(exports.Stage):
    def describe(self):
        return processor.describe()

    def run(self, job, input, output):
        return processor.run(job, input, output)
