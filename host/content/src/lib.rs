//! A content-addressed blob store in containerd's on-disk layout.
