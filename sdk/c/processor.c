#include "processor.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Bytes of one call that writes. The interface sets the limit.
#define WRITE_MAX ((size_t)4 << 20)

// Bytes of a text for people.
#define TEXT_MAX 2048

static const char *const conversions[][2] = {PLUGIN_CONVERSIONS};

void exports_transom_processor_stage_describe(exports_transom_processor_stage_info_t *info) {
    transom_text(&info->name, PLUGIN_NAME);
    transom_text(&info->version, PLUGIN_VERSION);
    info->conversions.len = PLUGIN_CONVERSIONS_COUNT;
    info->conversions.ptr = calloc(PLUGIN_CONVERSIONS_COUNT, sizeof *info->conversions.ptr);
    for (size_t at = 0; at < PLUGIN_CONVERSIONS_COUNT; at++) {
        transom_text(&info->conversions.ptr[at].accepts, conversions[at][0]);
        transom_text(&info->conversions.ptr[at].returns, conversions[at][1]);
    }
}

bool exports_transom_processor_stage_run(
    exports_transom_processor_stage_job_t *job,
    exports_transom_processor_stage_borrow_reader_t reader,
    exports_transom_processor_stage_borrow_writer_t writer,
    exports_transom_processor_stage_outcome_t *result,
    exports_transom_processor_stage_error_t *error
) {
    transom_input input = {.reader = reader};
    transom_output output = {.writer = writer};
    transom_outcome outcome = {0};
    bool done = plugin_run(job, &input, &output, &outcome);
    // What was lent goes back before the call ends.
    transom_common_io_reader_drop_borrow(reader);
    transom_common_io_writer_drop_borrow(writer);
    if (!done) {
        transom_failure(error);
        return false;
    }
    result->annotations = outcome.annotations;
    result->findings = outcome.findings;
    result->verdict.tag = EXPORTS_TRANSOM_PROCESSOR_STAGE_VERDICT_CONTINUE;
    if (outcome.refused != NULL) {
        result->verdict.tag = EXPORTS_TRANSOM_PROCESSOR_STAGE_VERDICT_REFUSE;
        transom_text(&result->verdict.val.refuse, outcome.refused);
    }
    return true;
}

bool transom_read(transom_input *input, transom_bytes *chunk) {
    if (input->held.ptr != NULL && input->held.len > 0) {
        free(input->held.ptr);
    }
    input->held = (component_list_u8_t){0};
    transom_common_types_io_error_t error;
    if (!transom_common_io_method_reader_read(input->reader, TRANSOM_CHUNK, &input->held, &error)) {
        input->failed = true;
        return transom_io_failed(error);
    }
    input->offset += input->held.len;
    chunk->at = input->held.ptr;
    chunk->length = input->held.len;
    return chunk->length > 0;
}

bool transom_ended(const transom_input *input) {
    return !input->failed;
}

bool transom_write(transom_output *output, transom_bytes bytes) {
    while (bytes.length > 0) {
        size_t length = bytes.length < WRITE_MAX ? bytes.length : WRITE_MAX;
        component_list_u8_t piece = {(uint8_t *)bytes.at, length};
        transom_common_types_io_error_t error;
        if (!transom_common_io_method_writer_write(output->writer, &piece, &error)) {
            return transom_io_failed(error);
        }
        bytes.at += length;
        bytes.length -= length;
    }
    return true;
}

void transom_annotate(transom_outcome *outcome, const char *key, const char *format, ...) {
    char text[TEXT_MAX];
    va_list values;
    va_start(values, format);
    vsnprintf(text, sizeof text, format, values);
    va_end(values);
    exports_transom_processor_stage_list_annotation_t *list = &outcome->annotations;
    list->ptr = realloc(list->ptr, (list->len + 1) * sizeof *list->ptr);
    transom_text(&list->ptr[list->len].f0, key);
    transom_text(&list->ptr[list->len].f1, text);
    list->len++;
}

void transom_find(
    transom_outcome *outcome,
    transom_severity severity,
    const char *rule,
    const char *location,
    const char *format,
    ...
) {
    char text[TEXT_MAX];
    va_list values;
    va_start(values, format);
    vsnprintf(text, sizeof text, format, values);
    va_end(values);
    exports_transom_processor_stage_list_finding_t *list = &outcome->findings;
    list->ptr = realloc(list->ptr, (list->len + 1) * sizeof *list->ptr);
    exports_transom_processor_stage_finding_t *finding = &list->ptr[list->len++];
    finding->severity = severity;
    transom_text(&finding->rule, rule);
    transom_text(&finding->location, location);
    transom_text(&finding->message, text);
}

void transom_refuse(transom_outcome *outcome, const char *format, ...) {
    outcome->refused = malloc(TEXT_MAX);
    va_list values;
    va_start(values, format);
    vsnprintf(outcome->refused, TEXT_MAX, format, values);
    va_end(values);
}

// The value of a key, if it has one of this type.
static const exports_transom_processor_stage_config_value_t *value_of(const transom_job *job, const char *key, uint8_t tag) {
    size_t length = strlen(key);
    for (size_t at = 0; at < job->config.len; at++) {
        const component_string_t *name = &job->config.ptr[at].f0;
        if (name->len == length && memcmp(name->ptr, key, length) == 0) {
            const exports_transom_processor_stage_config_value_t *value = &job->config.ptr[at].f1;
            return value->tag == tag ? value : NULL;
        }
    }
    return NULL;
}

bool transom_config_boolean(const transom_job *job, const char *key, bool *value) {
    const exports_transom_processor_stage_config_value_t *found =
        value_of(job, key, EXPORTS_TRANSOM_PROCESSOR_STAGE_CONFIG_VALUE_BOOLEAN);
    if (found != NULL) {
        *value = found->val.boolean;
    }
    return found != NULL;
}

bool transom_config_integer(const transom_job *job, const char *key, int64_t *value) {
    const exports_transom_processor_stage_config_value_t *found =
        value_of(job, key, EXPORTS_TRANSOM_PROCESSOR_STAGE_CONFIG_VALUE_INTEGER);
    if (found != NULL) {
        *value = found->val.integer;
    }
    return found != NULL;
}

bool transom_config_number(const transom_job *job, const char *key, double *value) {
    const exports_transom_processor_stage_config_value_t *found =
        value_of(job, key, EXPORTS_TRANSOM_PROCESSOR_STAGE_CONFIG_VALUE_NUMBER);
    if (found != NULL) {
        *value = found->val.number;
    }
    return found != NULL;
}

bool transom_config_text(const transom_job *job, const char *key, transom_bytes *value) {
    const exports_transom_processor_stage_config_value_t *found =
        value_of(job, key, EXPORTS_TRANSOM_PROCESSOR_STAGE_CONFIG_VALUE_TEXT);
    if (found != NULL) {
        *value = (transom_bytes){found->val.text.ptr, found->val.text.len};
    }
    return found != NULL;
}

bool transom_config_texts(const transom_job *job, const char *key, size_t number, transom_bytes *value) {
    const exports_transom_processor_stage_config_value_t *found =
        value_of(job, key, EXPORTS_TRANSOM_PROCESSOR_STAGE_CONFIG_VALUE_TEXTS);
    if (found == NULL || number >= found->val.texts.len) {
        return false;
    }
    *value = (transom_bytes){found->val.texts.ptr[number].ptr, found->val.texts.ptr[number].len};
    return true;
}
