//! Images on disk: OCI layouts and archives, docker archives, and unpacking them.
