// Records of at least so many bytes: `wasm."{name}"==1000000`.

#include <errno.h>
#include <stdlib.h>

#include "filter.h"

const char plugin_example[] = "1000000";

static uint64_t least;

bool plugin_compile(const char *expression) {
    char *end;
    errno = 0;
    least = strtoull(expression, &end, 10);
    if (errno != 0 || end == expression || *end != '\0') {
        return transom_fail("a number of bytes is wanted: %s", expression);
    }
    return true;
}

bool plugin_matches(const transom_record *record, bool *matches) {
    uint64_t size;
    *matches = transom_record_size(record, &size) && size >= least;
    return true;
}
