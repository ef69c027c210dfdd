"""ORAS's client for tests, over plain HTTP, in the folder where it is started.

oras_client.py pull NAME FOLDER                  prints the files that it wrote
oras_client.py push NAME CONFIG:TYPE FILE:TYPE…
"""

import sys

from oras.client import OrasClient

client = OrasClient(insecure=True)
match sys.argv[1:]:
    case ["pull", name, folder]:
        print("\n".join(client.pull(target=name, outdir=folder)))
    case ["push", name, config, *files]:
        answer = client.push(target=name, files=files, manifest_config=config, quiet=True)
        print(answer.status_code)
    case other:
        sys.exit(f"not known: {other}")
