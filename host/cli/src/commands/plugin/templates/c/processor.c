// Counts the files of each layer as it passes.

#include "processor.h"
#include "tar.h"

static uint64_t files;

static void entry(void *context, const transom_tar_entry *entry) {
    (void)context;
    // '0' is a file, '5' a folder and so on.
    files += entry->kind == '0';
}

bool plugin_run(const transom_job *job, transom_input *input, transom_output *output, transom_outcome *outcome) {
    (void)job;
    transom_tar tar;
    transom_tar_begin(&tar, entry, NULL);
    transom_bytes chunk;
    while (transom_read(input, &chunk)) {
        if (!transom_tar_feed(&tar, chunk) || !transom_write(output, chunk)) {
            return false;
        }
    }
    if (!transom_ended(input) || !transom_tar_end(&tar)) {
        return false;
    }
    transom_annotate(outcome, "com.example.{name}.files", "%llu", (unsigned long long)files);
    return true;
}
