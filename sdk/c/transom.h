// What every plugin in C has: a log, and words for what goes wrong.
//
// A function of a plugin that returns bool returns false when it fails, after one of the functions here has said why:
//
//     return transom_corrupt("a block of %u bytes, of at most %u", length, most);

#ifndef TRANSOM_H
#define TRANSOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "component.h"
#include "project.h"

#define TRANSOM_PRINTF(text, first) __attribute__((__format__(__printf__, text, first)))

// Some bytes of somebody else's.
typedef struct transom_bytes {
    const uint8_t *at;
    size_t length;
} transom_bytes;

// Lines for the host's log. It adds who says it, and of which layer. Nothing secret belongs there.
void transom_log_trace(const char *format, ...) TRANSOM_PRINTF(1, 2);
void transom_log_debug(const char *format, ...) TRANSOM_PRINTF(1, 2);
void transom_log_info(const char *format, ...) TRANSOM_PRINTF(1, 2);
void transom_log_warn(const char *format, ...) TRANSOM_PRINTF(1, 2);
void transom_log_error(const char *format, ...) TRANSOM_PRINTF(1, 2);

// The input is well formed, but uses something that this plugin does not do. All of these return false.
bool transom_unsupported(const char *format, ...) TRANSOM_PRINTF(1, 2);
// The input is damaged.
bool transom_corrupt(const char *format, ...) TRANSOM_PRINTF(1, 2);
// The same, with where: bytes from the start of the input.
bool transom_corrupt_at(uint64_t offset, const char *format, ...) TRANSOM_PRINTF(2, 3);
// The plugin needs something that it was not granted.
bool transom_denied(const char *format, ...) TRANSOM_PRINTF(1, 2);
// The value of a configuration key is one that the plugin cannot work with.
bool transom_misconfigured(const char *key, const char *format, ...) TRANSOM_PRINTF(2, 3);
// A limit that the plugin itself sets was met. The text says which, and how to raise it.
bool transom_limit(const char *format, ...) TRANSOM_PRINTF(1, 2);
// Anything else.
bool transom_fail(const char *format, ...) TRANSOM_PRINTF(1, 2);

// For the rest of the SDK: what was said last, as the host has it. The texts are the caller's.
void transom_failure(transom_common_types_error_t *error);
// The same as a text.
const char *transom_failure_text(void);
// The key that is misconfigured, or NULL if it is something else.
const char *transom_failure_key(void);
// Remembers that a stream of the host failed. The value becomes the SDK's.
bool transom_io_failed(transom_common_types_io_error_t error);
// A text of the caller's own.
void transom_text(component_string_t *text, const char *from);

#endif
