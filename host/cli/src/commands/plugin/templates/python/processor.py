"""Counts the files of each layer as it passes."""

import tarfile

from transom.processor import CHUNK, Outcome, Tee, processor


@processor
def run(job, input, output):
    files = 0
    tee = Tee(input, output)
    with tarfile.open(fileobj=tee, mode="r|", bufsize=CHUNK) as tar:
        for entry in tar:
            files += entry.isfile()
    tee.drain()
    return Outcome().annotate("com.example.{name}.files", files)
