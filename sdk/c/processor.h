// Processors: a stage in the way of a layer's bytes. A plugin defines `plugin_run`:
//
//     bool plugin_run(const transom_job *job, transom_input *input, transom_output *output, transom_outcome *outcome) {
//         transom_bytes chunk;
//         while (transom_read(input, &chunk)) {
//             if (!transom_write(output, chunk)) {
//                 return false;
//             }
//         }
//         return transom_ended(input);
//     }
//
// The host makes a fresh instance for each layer, so nothing is kept from one to the next. What the plugin is called and what it
// converts is taken from plugin.toml.

#ifndef TRANSOM_PROCESSOR_H
#define TRANSOM_PROCESSOR_H

#include "transom.h"

// The media type of a plain layer.
#define TRANSOM_LAYER_TAR "application/vnd.oci.image.layer.v1.tar"

// Bytes that are best read and written at a time.
#define TRANSOM_CHUNK 262144

// What is asked of the plugin: `input_media_type`, `output_media_type`, `descriptor`, `payload`, `config`.
typedef exports_transom_processor_stage_job_t transom_job;

// The bytes of the layer.
typedef struct transom_input {
    exports_transom_processor_stage_borrow_reader_t reader;
    component_list_u8_t held;
    bool failed;
    // How many have been read.
    uint64_t offset;
} transom_input;

// Where the bytes go.
typedef struct transom_output {
    exports_transom_processor_stage_borrow_writer_t writer;
} transom_output;

// What is said of the layer beside its bytes.
typedef struct transom_outcome {
    exports_transom_processor_stage_list_annotation_t annotations;
    exports_transom_processor_stage_list_finding_t findings;
    char *refused;
} transom_outcome;

// How much a finding matters.
typedef enum transom_severity {
    TRANSOM_INFO = EXPORTS_TRANSOM_PROCESSOR_STAGE_SEVERITY_INFO,
    TRANSOM_WARNING = EXPORTS_TRANSOM_PROCESSOR_STAGE_SEVERITY_WARNING,
    TRANSOM_CRITICAL = EXPORTS_TRANSOM_PROCESSOR_STAGE_SEVERITY_CRITICAL,
} transom_severity;

// The plugin: reads the input, writes the output. With false the output is thrown away.
bool plugin_run(const transom_job *job, transom_input *input, transom_output *output, transom_outcome *outcome);

// The next bytes, which may be changed in place and are there until the next call. False at the end, and when the stream failed.
bool transom_read(transom_input *input, transom_bytes *chunk);
// After transom_read returned false: whether it was the end.
bool transom_ended(const transom_input *input);
// Writes all of the bytes.
bool transom_write(transom_output *output, transom_bytes bytes);

// Records something with the layer. Keys are in reverse domain notation.
void transom_annotate(transom_outcome *outcome, const char *key, const char *format, ...) TRANSOM_PRINTF(3, 4);
// Reports something: the rule that found it, where it is, and what it is.
void transom_find(transom_outcome *outcome, transom_severity severity, const char *rule, const char *location, const char *format, ...)
    TRANSOM_PRINTF(5, 6);
// The layer may not be used, for this reason. The plugin returns true all the same.
void transom_refuse(transom_outcome *outcome, const char *format, ...) TRANSOM_PRINTF(2, 3);

// The value of a configuration key, which plugin.toml declares with this type; false if it has none.
bool transom_config_boolean(const transom_job *job, const char *key, bool *value);
bool transom_config_integer(const transom_job *job, const char *key, int64_t *value);
bool transom_config_number(const transom_job *job, const char *key, double *value);
bool transom_config_text(const transom_job *job, const char *key, transom_bytes *value);
// One of the texts of a list, from 0; false after the last.
bool transom_config_texts(const transom_job *job, const char *key, size_t number, transom_bytes *value);

#endif
