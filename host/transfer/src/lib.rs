//! Images in and out of the stores of a daemon.
