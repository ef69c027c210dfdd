// What Debian's wasi-libc imports of WASI, for a plugin that has none of it: no files, no network, no clock, no random numbers. With
// these the component imports nothing but its world, and `time`, `fopen` and the like fail as they do where there is nothing.
// What is printed goes to the host's log, line by line.

#include <string.h>
#include <wasi/api.h>

#include "transom.h"

// Bytes of a line that is being printed.
#define LINE_MAX 1024

// clang-format off
#define NONE(name, ...) \
    __wasi_errno_t __wasi_##name(__VA_ARGS__) { return __WASI_ERRNO_NOSYS; }
// clang-format on

// A definition need not name what it does not use; C23 says so, and clang has long agreed.
#pragma clang diagnostic ignored "-Wunknown-warning-option"
#pragma clang diagnostic ignored "-Wc2x-extensions"
#pragma clang diagnostic ignored "-Wc23-extensions"
#pragma clang diagnostic ignored "-Wunused-parameter"

NONE(clock_res_get, __wasi_clockid_t, __wasi_timestamp_t *)
NONE(clock_time_get, __wasi_clockid_t, __wasi_timestamp_t, __wasi_timestamp_t *)
NONE(fd_advise, __wasi_fd_t, __wasi_filesize_t, __wasi_filesize_t, __wasi_advice_t)
NONE(fd_allocate, __wasi_fd_t, __wasi_filesize_t, __wasi_filesize_t)
NONE(fd_datasync, __wasi_fd_t)
NONE(fd_fdstat_set_flags, __wasi_fd_t, __wasi_fdflags_t)
NONE(fd_fdstat_set_rights, __wasi_fd_t, __wasi_rights_t, __wasi_rights_t)
NONE(fd_filestat_get, __wasi_fd_t, __wasi_filestat_t *)
NONE(fd_filestat_set_size, __wasi_fd_t, __wasi_filesize_t)
NONE(fd_filestat_set_times, __wasi_fd_t, __wasi_timestamp_t, __wasi_timestamp_t, __wasi_fstflags_t)
NONE(fd_pread, __wasi_fd_t, const __wasi_iovec_t *, size_t, __wasi_filesize_t, __wasi_size_t *)
NONE(fd_pwrite, __wasi_fd_t, const __wasi_ciovec_t *, size_t, __wasi_filesize_t, __wasi_size_t *)
NONE(fd_read, __wasi_fd_t, const __wasi_iovec_t *, size_t, __wasi_size_t *)
NONE(fd_readdir, __wasi_fd_t, uint8_t *, __wasi_size_t, __wasi_dircookie_t, __wasi_size_t *)
NONE(fd_renumber, __wasi_fd_t, __wasi_fd_t)
NONE(fd_seek, __wasi_fd_t, __wasi_filedelta_t, __wasi_whence_t, __wasi_filesize_t *)
NONE(fd_sync, __wasi_fd_t)
NONE(fd_tell, __wasi_fd_t, __wasi_filesize_t *)
NONE(path_create_directory, __wasi_fd_t, const char *)
NONE(path_filestat_get, __wasi_fd_t, __wasi_lookupflags_t, const char *, __wasi_filestat_t *)
NONE(path_filestat_set_times, __wasi_fd_t, __wasi_lookupflags_t, const char *, __wasi_timestamp_t, __wasi_timestamp_t, __wasi_fstflags_t)
NONE(path_link, __wasi_fd_t, __wasi_lookupflags_t, const char *, __wasi_fd_t, const char *)
NONE(path_open, __wasi_fd_t, __wasi_lookupflags_t, const char *, __wasi_oflags_t, __wasi_rights_t, __wasi_rights_t, __wasi_fdflags_t, __wasi_fd_t *)
NONE(path_readlink, __wasi_fd_t, const char *, uint8_t *, __wasi_size_t, __wasi_size_t *)
NONE(path_remove_directory, __wasi_fd_t, const char *)
NONE(path_rename, __wasi_fd_t, const char *, __wasi_fd_t, const char *)
NONE(path_symlink, const char *, __wasi_fd_t, const char *)
NONE(path_unlink_file, __wasi_fd_t, const char *)
NONE(poll_oneoff, const __wasi_subscription_t *, __wasi_event_t *, __wasi_size_t, __wasi_size_t *)
NONE(random_get, uint8_t *, __wasi_size_t)
NONE(sock_accept, __wasi_fd_t, __wasi_fdflags_t, __wasi_fd_t *)
NONE(sock_recv, __wasi_fd_t, const __wasi_iovec_t *, size_t, __wasi_riflags_t, __wasi_size_t *, __wasi_roflags_t *)
NONE(sock_send, __wasi_fd_t, const __wasi_ciovec_t *, size_t, __wasi_siflags_t, __wasi_size_t *)
NONE(sock_shutdown, __wasi_fd_t, __wasi_sdflags_t)

__wasi_errno_t __wasi_args_sizes_get(__wasi_size_t *count, __wasi_size_t *bytes) {
    *count = *bytes = 0;
    return __WASI_ERRNO_SUCCESS;
}

__wasi_errno_t __wasi_args_get(uint8_t **arguments, uint8_t *bytes) {
    return __WASI_ERRNO_SUCCESS;
}

__wasi_errno_t __wasi_environ_sizes_get(__wasi_size_t *count, __wasi_size_t *bytes) {
    *count = *bytes = 0;
    return __WASI_ERRNO_SUCCESS;
}

__wasi_errno_t __wasi_environ_get(uint8_t **variables, uint8_t *bytes) {
    return __WASI_ERRNO_SUCCESS;
}

// No folder is open: the libc asks for them from 3 on until it is told so.
__wasi_errno_t __wasi_fd_prestat_get(__wasi_fd_t fd, __wasi_prestat_t *prestat) {
    return __WASI_ERRNO_BADF;
}

__wasi_errno_t __wasi_fd_prestat_dir_name(__wasi_fd_t fd, uint8_t *path, __wasi_size_t length) {
    return __WASI_ERRNO_BADF;
}

__wasi_errno_t __wasi_fd_close(__wasi_fd_t fd) {
    return fd <= 2 ? __WASI_ERRNO_SUCCESS : __WASI_ERRNO_BADF;
}

__wasi_errno_t __wasi_fd_fdstat_get(__wasi_fd_t fd, __wasi_fdstat_t *stat) {
    if (fd > 2) {
        return __WASI_ERRNO_BADF;
    }
    // A terminal, so that lines are not held back.
    *stat = (__wasi_fdstat_t){.fs_filetype = __WASI_FILETYPE_CHARACTER_DEVICE, .fs_rights_base = __WASI_RIGHTS_FD_WRITE};
    return __WASI_ERRNO_SUCCESS;
}

static void print(const uint8_t *text, size_t length) {
    static char begun[LINE_MAX];
    static size_t filled;
    for (size_t at = 0; at < length; at++) {
        if (text[at] != '\n') {
            begun[filled++] = (char)text[at];
        }
        if (text[at] == '\n' || filled == LINE_MAX - 1) {
            begun[filled] = '\0';
            transom_log_info("%s", begun);
            filled = 0;
        }
    }
}

__wasi_errno_t __wasi_fd_write(__wasi_fd_t fd, const __wasi_ciovec_t *pieces, size_t count, __wasi_size_t *written) {
    *written = 0;
    if (fd != 1 && fd != 2) {
        return __WASI_ERRNO_BADF;
    }
    for (size_t at = 0; at < count; at++) {
        print(pieces[at].buf, pieces[at].buf_len);
        *written += (__wasi_size_t)pieces[at].buf_len;
    }
    return __WASI_ERRNO_SUCCESS;
}

__wasi_errno_t __wasi_sched_yield(void) {
    return __WASI_ERRNO_SUCCESS;
}

// The host reports the trap, and that it was `exit` or `abort`.
_Noreturn void __wasi_proc_exit(__wasi_exitcode_t code) {
    __builtin_trap();
}
