// Label filters: which records a list shows, by an expression. A plugin defines `plugin_example`, `plugin_compile` and
// `plugin_matches`. An instance is for one expression, so what was understood of it may be kept in static variables.

#ifndef TRANSOM_FILTER_H
#define TRANSOM_FILTER_H

#include "transom.h"

// An expression that shows what the plugin is for, in one line.
extern const char plugin_example[];

// A record of a list.
typedef struct transom_record {
    const exports_transom_filter_matching_batch_t *batch;
    const exports_transom_filter_matching_facts_t *facts;
} transom_record;

// Understands an expression.
bool plugin_compile(const char *expression);
// Says whether a record matches the expression.
bool plugin_matches(const transom_record *record, bool *matches);

// What is known of a record; false if its kind does not have it. The kind is there always: `image`, `content`, `ingest`, `lease`,
// `snapshot` or `event`.
bool transom_record_kind(const transom_record *record, transom_bytes *value);
bool transom_record_name(const transom_record *record, transom_bytes *value);
bool transom_record_digest(const transom_record *record, transom_bytes *value);
bool transom_record_media_type(const transom_record *record, transom_bytes *value);
bool transom_record_size(const transom_record *record, uint64_t *value);
// Seconds since 1970.
bool transom_record_created(const transom_record *record, int64_t *value);
bool transom_record_updated(const transom_record *record, int64_t *value);
// The label, or the annotation, with this key.
bool transom_record_label(const transom_record *record, const char *key, transom_bytes *value);
bool transom_record_annotation(const transom_record *record, const char *key, transom_bytes *value);

#endif
