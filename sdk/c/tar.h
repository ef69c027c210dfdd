// A look into a tar as it passes: it is fed the chunks of the layer and calls a function for each entry. Long names and attributes of
// pax and GNU tars are understood; what else is in a header is left alone.

#ifndef TRANSOM_TAR_H
#define TRANSOM_TAR_H

#include "transom.h"

// An entry. Its texts end with a zero and are there during the call.
typedef struct transom_tar_entry {
    // Where it is, as the tar has it.
    const char *path;
    // The target of a link.
    const char *target;
    // '0' is a file, '5' a folder, '1' a link, '2' a symbolic link, '3' and '4' are devices.
    char kind;
    uint32_t mode;
    uint64_t size;
    // Where its header begins, in bytes from the start of the tar.
    uint64_t offset;
    // The records of its pax header.
    const char *pax;
    size_t pax_length;
} transom_tar_entry;

typedef void (*transom_tar_visit)(void *context, const transom_tar_entry *entry);
typedef void (*transom_tar_content)(void *context, transom_bytes piece);

// A tar that is being read. Its fields are its own, but for `content`.
typedef struct transom_tar {
    transom_tar_visit visit;
    void *context;
    // Called with what is in the entry that was visited last, piece by piece, if it is set. It may be changed at any time.
    transom_tar_content content;
    uint64_t offset;
    uint64_t left;
    uint64_t padding;
    size_t filled;
    uint8_t block[512];
    char extra;
    bool sparse;
    bool ended;
    char *pax;
    size_t pax_length;
    char *path;
    char *target;
    char *text;
    size_t text_length;
} transom_tar;

// Begins. `visit` is called for each entry, with `context`.
void transom_tar_begin(transom_tar *tar, transom_tar_visit visit, void *context);
// Takes the next bytes. False if they are no tar.
bool transom_tar_feed(transom_tar *tar, transom_bytes bytes);
// After the last bytes. False if the tar ends too early.
bool transom_tar_end(transom_tar *tar);
// The value of a record of the entry's pax header; false if there is none.
bool transom_tar_record(const transom_tar_entry *entry, const char *key, transom_bytes *value);

#endif
