// A storage driver that stands on another and keeps everything turned by 13.

#include "driver.h"

bool plugin_open(void) {
    return true;
}

bool plugin_encode(uint64_t offset, uint8_t *bytes, size_t length) {
    (void)offset;
    for (size_t at = 0; at < length; at++) {
        bytes[at] += 13;
    }
    return true;
}

bool plugin_decode(uint64_t offset, uint8_t *bytes, size_t length) {
    (void)offset;
    for (size_t at = 0; at < length; at++) {
        bytes[at] -= 13;
    }
    return true;
}
