#include "tar.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK 512

// Bytes of one extra header. Real ones have hundreds.
#define EXTRA_MAX ((uint64_t)1 << 20)

void transom_tar_begin(transom_tar *tar, transom_tar_visit visit, void *context) {
    *tar = (transom_tar){.visit = visit, .context = context};
}

// A number of a header: octal, or of base 256 when it is large.
static bool number(const uint8_t *field, size_t length, uint64_t *value) {
    *value = 0;
    if (field[0] & 0x80) {
        for (size_t at = 1; at < length; at++) {
            if (*value >> 56) {
                return false;
            }
            *value = *value << 8 | field[at];
        }
        return true;
    }
    size_t at = 0;
    while (at < length && field[at] == ' ') {
        at++;
    }
    for (; at < length && field[at] != 0 && field[at] != ' '; at++) {
        if (field[at] < '0' || field[at] > '7') {
            return false;
        }
        *value = *value << 3 | (uint64_t)(field[at] - '0');
    }
    return true;
}

static bool is_sound(const uint8_t *block) {
    uint64_t sum = 0, said;
    for (size_t at = 0; at < BLOCK; at++) {
        sum += at >= 148 && at < 156 ? ' ' : block[at];
    }
    return number(block + 148, 8, &said) && sum == said;
}

// A copy of a field, up to its first zero.
static char *copy(const uint8_t *field, size_t length) {
    size_t end = 0;
    while (end < length && field[end] != 0) {
        end++;
    }
    char *text = malloc(end + 1);
    memcpy(text, field, end);
    text[end] = '\0';
    return text;
}

static char *joined_path(const uint8_t *block) {
    bool has_prefix = memcmp(block + 257, "ustar", 6) == 0 && block[345] != 0;
    char *name = copy(block, 100);
    if (!has_prefix) {
        return name;
    }
    char *prefix = copy(block + 345, 155);
    size_t front = strlen(prefix), back = strlen(name);
    char *path = malloc(front + back + 2);
    memcpy(path, prefix, front);
    path[front] = '/';
    memcpy(path + front + 1, name, back + 1);
    free(prefix);
    free(name);
    return path;
}

bool transom_tar_record(const transom_tar_entry *entry, const char *key, transom_bytes *value) {
    size_t wanted = strlen(key);
    const char *at = entry->pax, *end = entry->pax + entry->pax_length;
    while (at < end) {
        char *space;
        unsigned long length = strtoul(at, &space, 10);
        if (*space != ' ' || length <= (size_t)(space + 1 - at) || length > (size_t)(end - at)) {
            return false;
        }
        const char *name = space + 1;
        if ((size_t)(at + length - name) > wanted + 1 && memcmp(name, key, wanted) == 0 && name[wanted] == '=') {
            value->at = (const uint8_t *)name + wanted + 1;
            value->length = (size_t)(at + length - 1 - (name + wanted + 1));
            return true;
        }
        at += length;
    }
    return false;
}

// A record's value instead of what the header has.
static void prefer(char **text, const transom_tar_entry *entry, const char *key) {
    transom_bytes value;
    if (transom_tar_record(entry, key, &value)) {
        free(*text);
        *text = copy(value.at, value.length);
    }
}

static void forget(transom_tar *tar) {
    free(tar->pax);
    free(tar->path);
    free(tar->target);
    tar->pax = tar->path = tar->target = NULL;
    tar->pax_length = 0;
}

static bool visit(transom_tar *tar, char kind, uint64_t size, uint64_t mode) {
    transom_tar_entry entry = {
        .kind = kind,
        .mode = (uint32_t)mode,
        .size = size,
        .offset = tar->offset - BLOCK,
        .pax = tar->pax,
        .pax_length = tar->pax_length,
    };
    char *path = tar->path != NULL ? strdup(tar->path) : joined_path(tar->block);
    char *target = tar->target != NULL ? strdup(tar->target) : copy(tar->block + 157, 100);
    transom_bytes value;
    if (tar->pax != NULL) {
        prefer(&path, &entry, "path");
        prefer(&target, &entry, "linkpath");
        if (transom_tar_record(&entry, "size", &value)) {
            entry.size = strtoull((const char *)value.at, NULL, 10);
        }
    }
    entry.path = path;
    entry.target = target;
    tar->visit(tar->context, &entry);
    free(path);
    free(target);
    forget(tar);
    // Links and the like have no content, whatever their header says.
    tar->left = kind >= '1' && kind <= '6' ? 0 : entry.size;
    tar->padding = (BLOCK - tar->left % BLOCK) % BLOCK;
    tar->sparse = kind == 'S' && tar->block[482] != 0;
    return true;
}

static bool header(transom_tar *tar) {
    uint64_t size, mode, at = tar->offset - BLOCK;
    if (tar->sparse) {
        // More of the map of a sparse file, which the size does not count.
        tar->sparse = tar->block[504] != 0;
        return true;
    }
    size_t zeros = 0;
    while (zeros < BLOCK && tar->block[zeros] == 0) {
        zeros++;
    }
    if (zeros == BLOCK) {
        tar->ended = true;
        return true;
    }
    if (!is_sound(tar->block)) {
        return transom_corrupt_at(at, "the check sum of a tar header does not fit");
    }
    if (!number(tar->block + 124, 12, &size) || !number(tar->block + 100, 8, &mode)) {
        return transom_corrupt_at(at, "a number of a tar header is none");
    }
    char kind = tar->block[156] == 0 ? '0' : (char)tar->block[156];
    if (kind != 'x' && kind != 'g' && kind != 'L' && kind != 'K') {
        return visit(tar, kind, size, mode);
    }
    if (size > EXTRA_MAX) {
        return transom_corrupt_at(at, "the extra header of an entry is larger than 1 MiB");
    }
    tar->extra = kind;
    tar->text = calloc(size + 1, 1);
    tar->text_length = 0;
    tar->left = size;
    tar->padding = (BLOCK - size % BLOCK) % BLOCK;
    return true;
}

// An extra header is whole.
static void keep(transom_tar *tar) {
    char **place = tar->extra == 'x' ? &tar->pax : tar->extra == 'L' ? &tar->path : &tar->target;
    if (tar->extra == 'g') {
        free(tar->text);
    } else {
        free(*place);
        *place = tar->text;
    }
    if (tar->extra == 'x') {
        tar->pax_length = tar->text_length;
    }
    tar->text = NULL;
    tar->extra = 0;
}

static size_t least(size_t length, uint64_t most) {
    return length < most ? length : (size_t)most;
}

bool transom_tar_feed(transom_tar *tar, transom_bytes bytes) {
    while (bytes.length > 0 && !tar->ended) {
        size_t taken;
        if (tar->filled == 0 && !tar->sparse && tar->left > 0) {
            taken = least(bytes.length, tar->left);
            if (tar->extra) {
                memcpy(tar->text + tar->text_length, bytes.at, taken);
                tar->text_length += taken;
            } else if (tar->content != NULL) {
                tar->content(tar->context, (transom_bytes){bytes.at, taken});
            }
            tar->left -= taken;
        } else if (tar->filled == 0 && !tar->sparse && tar->padding > 0) {
            taken = least(bytes.length, tar->padding);
            tar->padding -= taken;
        } else {
            taken = least(bytes.length, BLOCK - tar->filled);
            memcpy(tar->block + tar->filled, bytes.at, taken);
            tar->filled += taken;
        }
        tar->offset += taken;
        bytes.at += taken;
        bytes.length -= taken;
        if (tar->filled == BLOCK) {
            tar->filled = 0;
            if (!header(tar)) {
                return false;
            }
        }
        if (tar->extra && tar->left == 0) {
            keep(tar);
        }
    }
    return true;
}

bool transom_tar_end(transom_tar *tar) {
    if (tar->filled > 0 || tar->left > 0 || tar->padding > 0 || tar->sparse) {
        return transom_corrupt_at(tar->offset, "the tar ends inside an entry");
    }
    return true;
}
