"""A WebDAV server for the tests of the plugin webdav: webdav_server.py FOLDER USER PASSWORD. It prints its port.

wsgidav, with one thing changed: its own file system provider deletes what is in the way of a MOVE and then moves, so that for a
moment there is nothing. Here a MOVE of a file is one rename(2), as nginx does it.
"""

import os
import sys

from cheroot import wsgi
from wsgidav.dav_error import HTTP_CONFLICT, HTTP_FORBIDDEN, DAVError
from wsgidav.fs_dav_provider import FileResource, FilesystemProvider, FolderResource
from wsgidav.wsgidav_app import WsgiDAVApp


class File(FileResource):
    def handle_move(self, dest_path):
        target = self.provider._loc_to_file_path(dest_path, self.environ)
        try:
            os.replace(self._file_path, target)
        except FileNotFoundError as error:
            raise DAVError(HTTP_CONFLICT) from error
        except (IsADirectoryError, NotADirectoryError) as error:
            raise DAVError(HTTP_FORBIDDEN) from error
        return True

    def get_etag(self):
        # With nanoseconds and the file's number: two files of one second must not look alike.
        state = os.stat(self._file_path)
        return f"{state.st_ino:x}-{state.st_mtime_ns:x}-{state.st_size:x}"


class Provider(FilesystemProvider):
    def get_resource_inst(self, path, environ):
        self._count_get_resource_inst += 1
        file = self._loc_to_file_path(path, environ)
        if os.path.isdir(file):
            return FolderResource(path, environ, file)
        return File(path, environ, file) if os.path.exists(file) else None


def main():
    folder, user, password = sys.argv[1:4]
    config = {
        "provider_mapping": {"/dav": Provider(folder)},
        "simple_dc": {"user_mapping": {"*": {user: {"password": password}}}},
        "http_authenticator": {"accept_basic": True, "accept_digest": False, "default_to_digest": False},
        "dir_browser": {"enable": False},
        "lock_storage": False,
        "property_manager": False,
        "verbose": 1,
    }
    server = wsgi.Server(("127.0.0.1", 0), WsgiDAVApp(config), numthreads=16)
    server.prepare()
    print(f"port {server.bind_addr[1]}", flush=True)
    server.serve()


main()
