#include "filter.h"

#include <stdlib.h>
#include <string.h>

// An expression that was understood. What is known of it is the plugin's.
struct exports_transom_filter_matching_matcher_t {
    char unused;
};

void exports_transom_filter_matching_describe(exports_transom_filter_matching_info_t *info) {
    transom_text(&info->name, PLUGIN_NAME);
    transom_text(&info->version, PLUGIN_VERSION);
    transom_text(&info->example, plugin_example);
}

bool exports_transom_filter_matching_compile(
    component_string_t *expression,
    exports_transom_filter_matching_own_matcher_t *matcher,
    exports_transom_filter_matching_error_t *error
) {
    char *text = malloc(expression->len + 1);
    memcpy(text, expression->ptr, expression->len);
    text[expression->len] = '\0';
    bool understood = plugin_compile(text);
    free(text);
    component_string_free(expression);
    if (!understood) {
        transom_failure(error);
        return false;
    }
    *matcher = exports_transom_filter_matching_matcher_new(calloc(1, sizeof(struct exports_transom_filter_matching_matcher_t)));
    return true;
}

bool exports_transom_filter_matching_method_matcher_matches(
    exports_transom_filter_matching_borrow_matcher_t matcher,
    exports_transom_filter_matching_batch_t *batch,
    component_list_u8_t *bits,
    exports_transom_filter_matching_error_t *error
) {
    (void)matcher;
    bits->len = (batch->records.len + 7) / 8;
    bits->ptr = calloc(bits->len + 1, 1);
    bool done = true;
    for (size_t at = 0; done && at < batch->records.len; at++) {
        transom_record record = {batch, &batch->records.ptr[at]};
        bool matches = false;
        done = plugin_matches(&record, &matches);
        bits->ptr[at / 8] |= (uint8_t)(matches << at % 8);
    }
    exports_transom_filter_matching_batch_free(batch);
    if (!done) {
        free(bits->ptr);
        transom_failure(error);
    }
    return done;
}

void exports_transom_filter_matching_matcher_destructor(exports_transom_filter_matching_matcher_t *matcher) {
    free(matcher);
}

static bool piece(const transom_record *record, const exports_transom_filter_matching_span_t *span, transom_bytes *value) {
    *value = (transom_bytes){record->batch->text.ptr + span->at, span->length};
    return true;
}

bool transom_record_kind(const transom_record *record, transom_bytes *value) {
    return piece(record, &record->facts->kind, value);
}

bool transom_record_name(const transom_record *record, transom_bytes *value) {
    return record->facts->name.is_some && piece(record, &record->facts->name.val, value);
}

bool transom_record_digest(const transom_record *record, transom_bytes *value) {
    return record->facts->digest.is_some && piece(record, &record->facts->digest.val, value);
}

bool transom_record_media_type(const transom_record *record, transom_bytes *value) {
    return record->facts->media_type.is_some && piece(record, &record->facts->media_type.val, value);
}

bool transom_record_size(const transom_record *record, uint64_t *value) {
    *value = record->facts->size.val;
    return record->facts->size.is_some;
}

bool transom_record_created(const transom_record *record, int64_t *value) {
    *value = record->facts->created.val.seconds;
    return record->facts->created.is_some;
}

bool transom_record_updated(const transom_record *record, int64_t *value) {
    *value = record->facts->updated.val.seconds;
    return record->facts->updated.is_some;
}

static bool find(
    const transom_record *record,
    const exports_transom_filter_matching_option_pairs_t *run,
    const char *key,
    transom_bytes *value
) {
    size_t length = strlen(key);
    for (size_t at = 0; run->is_some && at < run->val.count; at++) {
        const exports_transom_filter_matching_pair_t *pair = &record->batch->pairs.ptr[run->val.first + at];
        if (pair->key.length == length && memcmp(record->batch->text.ptr + pair->key.at, key, length) == 0) {
            return piece(record, &pair->value, value);
        }
    }
    return false;
}

bool transom_record_label(const transom_record *record, const char *key, transom_bytes *value) {
    return find(record, &record->facts->labels, key, value);
}

bool transom_record_annotation(const transom_record *record, const char *key, transom_bytes *value) {
    return find(record, &record->facts->annotations, key, value);
}
