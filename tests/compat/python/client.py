"""A client of the daemon in Python: grpcio, and messages made of the daemon's own descriptors.

    /usr/bin/python3 client.py SOCKET DESCRIPTORS

Ends with "all good", or with a traceback.
"""

import hashlib
import sys

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

NAMESPACE = ("containerd-namespace", "python")
MESSAGE_BYTES = 16 << 20


class Daemon:
    """All methods of all services, by name."""

    def __init__(self, socket, descriptors):
        files = descriptor_pb2.FileDescriptorSet.FromString(descriptors)
        self.pool = descriptor_pool.DescriptorPool()
        for file in files.file:
            self.pool.Add(file)
        self.factory = message_factory.MessageFactory(self.pool)
        limits = [
            ("grpc.max_receive_message_length", MESSAGE_BYTES),
            ("grpc.max_send_message_length", MESSAGE_BYTES),
        ]
        self.channel = grpc.insecure_channel("unix:" + socket, limits)

    def message(self, name):
        return self.factory.GetPrototype(self.pool.FindMessageTypeByName(name))

    def call(self, service, method, request, *metadata):
        """Asks, and gives the answer, or an iterator of answers. A list of requests goes out as a stream."""
        found = self.pool.FindServiceByName(service).FindMethodByName(method)
        description = descriptor_pb2.MethodDescriptorProto()
        found.CopyToProto(description)
        kind = ("stream_" if description.client_streaming else "unary_") + (
            "stream" if description.server_streaming else "unary"
        )
        answer = self.factory.GetPrototype(found.output_type)
        stub = getattr(self.channel, kind)(
            f"/{service}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        request = iter(request) if description.client_streaming else request
        return stub(request, metadata=metadata or [NAMESPACE], timeout=60)


def refused(code, text, ask):
    try:
        ask()
    except grpc.RpcError as error:
        assert (error.code(), error.details()) == (code, text), error
    else:
        raise AssertionError(f"{text}: not refused")


def content(daemon):
    """A blob of several messages goes in and comes out."""
    service = "containerd.services.content.v1.Content"
    package = "containerd.services.content.v1."
    write = daemon.message(package + "WriteContentRequest")
    data = bytes(range(251)) * 20_000
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    size = 1 << 20
    requests = [write(action=0, ref="from-python", total=len(data))]
    for offset in range(0, len(data), size):
        requests.append(write(action=1, offset=offset, data=data[offset : offset + size]))
    requests.append(write(action=2, offset=len(data), total=len(data), expected=digest))
    answers = list(daemon.call(service, "Write", requests))
    # One for each request, and the last one once more.
    assert len(answers) == len(requests) + 1, len(answers)
    assert (answers[-1].offset, answers[-1].digest) == (len(data), digest), answers[-1]

    info = daemon.call(service, "Info", daemon.message(package + "InfoRequest")(digest=digest)).info
    assert (info.size, info.digest) == (len(data), digest), info
    read = daemon.message(package + "ReadContentRequest")(digest=digest, offset=5)
    assert b"".join(part.data for part in daemon.call(service, "Read", read)) == data[5:]
    missing = daemon.message(package + "InfoRequest")(digest="sha256:" + "0" * 64)
    refused(
        grpc.StatusCode.NOT_FOUND,
        f"content digest {missing.digest}: not found",
        lambda: daemon.call(service, "Info", missing),
    )
    return digest, len(data)


def images(daemon, digest, size):
    """An image is made, found by a filter, and removed; its event is told."""
    service = "containerd.services.images.v1.Images"
    package = "containerd.services.images.v1."
    create = daemon.message(package + "CreateImageRequest")()
    create.image.name = "example.org/python:1"
    create.image.labels["made.by"] = "python"
    create.image.target.media_type = "application/vnd.oci.image.manifest.v1+json"
    create.image.target.digest = digest
    create.image.target.size = size
    made = daemon.call(service, "Create", create).image
    assert made.created_at.seconds > 0 and made.labels["made.by"] == "python", made
    refused(
        grpc.StatusCode.ALREADY_EXISTS,
        f'image "{create.image.name}": already exists',
        lambda: daemon.call(service, "Create", create),
    )
    listed = daemon.message(package + "ListImagesRequest")(filters=['labels."made.by"==python'])
    names = [image.name for image in daemon.call(service, "List", listed).images]
    assert names == [create.image.name], names
    delete = daemon.message(package + "DeleteImageRequest")(name=create.image.name, sync=True)
    daemon.call(service, "Delete", delete)
    refused(
        grpc.StatusCode.FAILED_PRECONDITION,
        "namespace is required: failed precondition",
        lambda: daemon.call(service, "List", listed, ("other", "header")),
    )


def main():
    socket, descriptors = sys.argv[1:]
    with open(descriptors, "rb") as file:
        daemon = Daemon(socket, file.read())
    version = daemon.call(
        "containerd.services.version.v1.Version", "Version", daemon.message("google.protobuf.Empty")()
    )
    assert version.version, version
    images(daemon, *content(daemon))
    print("all good")


main()
