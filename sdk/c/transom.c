#include "transom.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Bytes of a text for people.
#define TEXT_MAX 2048

static struct {
    uint8_t tag;
    bool has_offset;
    uint64_t offset;
    char key[128];
    char text[TEXT_MAX];
    transom_common_types_io_error_t io;
} failed = {.tag = TRANSOM_COMMON_TYPES_ERROR_OTHER, .text = "the plugin does not say why"};

static void line(transom_common_log_level_t level, const char *format, va_list values) {
    char text[TEXT_MAX];
    vsnprintf(text, sizeof text, format, values);
    component_string_t message;
    component_string_set(&message, text);
    transom_common_log_log(level, &message);
}

#define LINE(name, level)                          \
    void transom_log_##name(const char *format, ...) { \
        va_list values;                            \
        va_start(values, format);                  \
        line(level, format, values);               \
        va_end(values);                            \
    }

LINE(trace, TRANSOM_COMMON_LOG_LEVEL_TRACE)
LINE(debug, TRANSOM_COMMON_LOG_LEVEL_DEBUG)
LINE(info, TRANSOM_COMMON_LOG_LEVEL_INFO)
LINE(warn, TRANSOM_COMMON_LOG_LEVEL_WARN)
LINE(error, TRANSOM_COMMON_LOG_LEVEL_ERROR)

static bool fail(uint8_t tag, const char *format, va_list values) {
    failed.tag = tag;
    failed.has_offset = false;
    vsnprintf(failed.text, sizeof failed.text, format, values);
    return false;
}

#define FAIL(name, tag)                     \
    bool transom_##name(const char *format, ...) { \
        va_list values;                     \
        va_start(values, format);           \
        fail(tag, format, values);          \
        va_end(values);                     \
        return false;                       \
    }

FAIL(unsupported, TRANSOM_COMMON_TYPES_ERROR_UNSUPPORTED)
FAIL(corrupt, TRANSOM_COMMON_TYPES_ERROR_CORRUPT)
FAIL(denied, TRANSOM_COMMON_TYPES_ERROR_DENIED)
FAIL(limit, TRANSOM_COMMON_TYPES_ERROR_LIMIT)
FAIL(fail, TRANSOM_COMMON_TYPES_ERROR_OTHER)

bool transom_corrupt_at(uint64_t offset, const char *format, ...) {
    va_list values;
    va_start(values, format);
    fail(TRANSOM_COMMON_TYPES_ERROR_CORRUPT, format, values);
    va_end(values);
    failed.has_offset = true;
    failed.offset = offset;
    return false;
}

bool transom_misconfigured(const char *key, const char *format, ...) {
    va_list values;
    va_start(values, format);
    fail(TRANSOM_COMMON_TYPES_ERROR_CONFIG, format, values);
    va_end(values);
    snprintf(failed.key, sizeof failed.key, "%s", key);
    return false;
}

bool transom_io_failed(transom_common_types_io_error_t error) {
    failed.tag = TRANSOM_COMMON_TYPES_ERROR_IO;
    failed.io = error;
    return false;
}

void transom_failure(transom_common_types_error_t *error) {
    error->tag = failed.tag;
    switch (failed.tag) {
    case TRANSOM_COMMON_TYPES_ERROR_CORRUPT:
        error->val.corrupt.offset.is_some = failed.has_offset;
        error->val.corrupt.offset.val = failed.offset;
        transom_text(&error->val.corrupt.message, failed.text);
        break;
    case TRANSOM_COMMON_TYPES_ERROR_CONFIG:
        transom_text(&error->val.config.key, failed.key);
        transom_text(&error->val.config.message, failed.text);
        break;
    case TRANSOM_COMMON_TYPES_ERROR_IO:
        error->val.io = failed.io;
        break;
    default:
        // The others have a text and nothing else.
        transom_text(&error->val.other, failed.text);
    }
}

const char *transom_failure_text(void) {
    return failed.text;
}

const char *transom_failure_key(void) {
    return failed.tag == TRANSOM_COMMON_TYPES_ERROR_CONFIG ? failed.key : NULL;
}

void transom_text(component_string_t *text, const char *from) {
    component_string_dup(text, from);
}
