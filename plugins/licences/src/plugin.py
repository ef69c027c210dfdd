"""Lists the licences of what is installed in a layer, and finds those that are not wanted.

It looks at what package managers leave: Debian's copyright files, the metadata of Python packages, and package.json. The layer
passes unchanged; only when the operator sets `refuse` is it refused.
"""

import email.parser
import fnmatch
import json
import re
import tarfile
from collections import Counter

from transom import Corrupt
from transom.processor import CHUNK, Outcome, Refused, Tee, processor

#: Bytes of a file that is looked into. The largest copyright files have some hundred kilobytes.
FILE_MAX = 2 << 20

#: Characters of a licence's name; what is longer is the licence itself.
NAME_MAX = 100

#: Licences in the annotation, the most frequent first.
LISTED = 40


def debian(path, text):
    """The licences of a copyright file, if it is one that a machine can read (DEP 5)."""
    if not text.startswith("Format:"):
        return
    package = path.split("/")[-2]
    for name in dict.fromkeys(re.findall(r"^License:[ \t]*(\S.*)$", text, re.MULTILINE)):
        yield package, name.strip()


def python(path, text):
    """The licence of a package, by its metadata."""
    fields = email.parser.HeaderParser().parsestr(text)
    package = fields.get("Name", path.split("/")[-2])
    licence = fields.get("License-Expression") or fields.get("License")
    if licence and "\n" not in licence.strip():
        yield package, licence.strip()
        return
    for classifier in fields.get_all("Classifier", []):
        if classifier.startswith("License :: "):
            yield package, classifier.split(" :: ")[-1]


def node(path, text):
    """The licence of a package, by its package.json."""
    try:
        package = json.loads(text)
    except ValueError:
        return
    if not isinstance(package, dict):
        return
    licence = package.get("license")
    if isinstance(licence, dict):
        licence = licence.get("type")
    if isinstance(licence, str) and isinstance(package.get("name"), str):
        yield package["name"], licence


#: What to look into: patterns of paths, and who reads it.
READERS = [
    ("usr/share/doc/*/copyright", debian),
    ("*.dist-info/METADATA", python),
    ("*.egg-info/PKG-INFO", python),
    ("*node_modules/*/package.json", node),
]


# What they import when they are first used must be there before: it is imported now, while the component is built.
for _sample, _reader in [
    ("Format: x\nLicense: MIT\n", debian),
    ("Name: x\nLicense-Expression: MIT\n", python),
    ("Name: x\nClassifier: License :: OSI Approved :: MIT License\n", python),
    ('{"name": "x", "license": "MIT"}', node),
]:
    assert list(_reader("doc/x/file", _sample))


def reader_of(path):
    for pattern, reader in READERS:
        if fnmatch.fnmatchcase(path, pattern):
            return reader
    return None


def is_denied(licence, denied):
    """Whether there is no way to use it: of alternatives, one that is not denied will do."""

    def is_one(name):
        return any(fnmatch.fnmatchcase(name.lower(), pattern.lower()) for pattern in denied)

    alternatives = re.split(r"\s+(?:or|\|)\s+", licence, flags=re.IGNORECASE)
    needed = [re.split(r"\s+(?:and|with)\s+|[(),\s]+", one, flags=re.IGNORECASE) for one in alternatives]
    return all(any(is_one(name) for name in [licence, *names] if name) for names in needed)


def found_in(tar):
    """What is in a layer: paths, packages and licences."""
    for entry in tar:
        path = entry.name.removeprefix("./").lstrip("/")
        reader = reader_of(path) if entry.isfile() and entry.size <= FILE_MAX else None
        if reader is None:
            continue
        text = tar.extractfile(entry).read().decode("utf-8", "replace")
        for package, licence in reader(path, text):
            yield path, package, licence[:NAME_MAX]


def report(job, counts, denied):
    """The outcome, from how often each licence occurs and what is not wanted."""
    outcome = Outcome()
    if counts:
        # Given a number, it would import a module, too.
        names = [f"{name} {count}" for name, count in counts.most_common()[:LISTED]]
        outcome.annotate("dev.transom.licences.found", "\n".join(names)[:4000])
        outcome.annotate("dev.transom.licences.count", counts.total())
    for path, package, licence in denied[: job.config["max_findings"]]:
        outcome.find("critical", "denied-licence", path, f"{package} is under {licence}")
    if denied:
        outcome.annotate("dev.transom.licences.denied", len(denied))
    return outcome


@processor
def run(job, input, output):
    counts, denied = Counter(), []
    tee = Tee(input, output)
    try:
        with tarfile.open(fileobj=tee, mode="r|", bufsize=CHUNK) as tar:
            for path, package, licence in found_in(tar):
                counts[licence] += 1
                if is_denied(licence, job.config["deny"]):
                    denied.append((path, package, licence))
    except tarfile.TarError as error:
        raise Corrupt(f"this is no tar: {error}") from None
    tee.drain()
    if denied and job.config["refuse"]:
        _, package, licence = denied[0]
        raise Refused(f"{len(denied)} package(s) under a licence that is not wanted, such as {package} under {licence}")
    return report(job, counts, denied)
