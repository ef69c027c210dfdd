#include "driver.h"

#include <stdlib.h>
#include <string.h>

// What comes as an argument is ours to free. What goes out, as a result or as an argument of the driver below, is freed by the
// bindings or stays ours.

typedef exports_transom_storage_driver_error_t error_type;

struct exports_transom_storage_driver_reader_t {
    transom_storage_driver_own_reader_t below;
    uint64_t offset;
};

struct exports_transom_storage_driver_writer_t {
    transom_storage_driver_own_writer_t below;
};

struct exports_transom_storage_driver_entries_t {
    transom_storage_driver_own_entries_t below;
};

static bool failed(error_type *error) {
    error->tag = TRANSOM_STORAGE_TYPES_ERROR_OTHER;
    transom_text(&error->val.other, transom_failure_text());
    return false;
}

// What the plugin is, and how it begins.

void exports_transom_storage_plugin_describe(exports_transom_storage_plugin_info_t *info) {
    transom_text(&info->name, PLUGIN_NAME);
    transom_text(&info->version, PLUGIN_VERSION);
}

bool exports_transom_storage_plugin_open(exports_transom_storage_plugin_open_error_t *error) {
    if (plugin_open()) {
        return true;
    }
    if (transom_failure_key() == NULL) {
        error->tag = EXPORTS_TRANSOM_STORAGE_PLUGIN_OPEN_ERROR_OTHER;
        transom_text(&error->val.other, transom_failure_text());
    } else {
        error->tag = EXPORTS_TRANSOM_STORAGE_PLUGIN_OPEN_ERROR_CONFIG;
        transom_text(&error->val.config.key, transom_failure_key());
        transom_text(&error->val.config.message, transom_failure_text());
    }
    return false;
}

// Content that is read.

bool exports_transom_storage_driver_read(
    component_string_t *path,
    uint64_t offset,
    exports_transom_storage_driver_content_t *content,
    error_type *error
) {
    transom_storage_driver_content_t below;
    bool found = transom_storage_driver_read(path, offset, &below, error);
    component_string_free(path);
    if (!found) {
        return false;
    }
    exports_transom_storage_driver_reader_t *reader = malloc(sizeof *reader);
    *reader = (exports_transom_storage_driver_reader_t){below.reader, offset};
    content->file = below.file;
    content->reader = exports_transom_storage_driver_reader_new(reader);
    return true;
}

bool exports_transom_storage_driver_method_reader_read(
    exports_transom_storage_driver_borrow_reader_t self,
    uint32_t max,
    component_list_u8_t *bytes,
    error_type *error
) {
    transom_storage_driver_borrow_reader_t below = transom_storage_driver_borrow_reader(self->below);
    if (!transom_storage_driver_method_reader_read(below, max, bytes, error)) {
        return false;
    }
    if (!plugin_decode(self->offset, bytes->ptr, bytes->len)) {
        return failed(error);
    }
    self->offset += bytes->len;
    return true;
}

void exports_transom_storage_driver_reader_destructor(exports_transom_storage_driver_reader_t *self) {
    transom_storage_driver_reader_drop_own(self->below);
    free(self);
}

bool exports_transom_storage_driver_get(
    component_string_t *path,
    uint64_t limit,
    component_list_u8_t *content,
    error_type *error
) {
    bool found = transom_storage_driver_get(path, limit, content, error);
    component_string_free(path);
    if (!found) {
        return false;
    }
    return plugin_decode(0, content->ptr, content->len) || failed(error);
}

// Content that is written.

bool exports_transom_storage_driver_put(
    component_string_t *path,
    component_list_u8_t *content,
    exports_transom_storage_driver_condition_t condition,
    error_type *error
) {
    // It is ours, so it may be changed in place.
    bool encoded = plugin_encode(0, content->ptr, content->len);
    bool kept = encoded && transom_storage_driver_put(path, content, condition, error);
    component_list_u8_free(content);
    component_string_free(path);
    return encoded ? kept : failed(error);
}

bool exports_transom_storage_driver_open_writer(
    component_string_t *path,
    exports_transom_storage_driver_write_mode_t mode,
    exports_transom_storage_driver_own_writer_t *writer,
    error_type *error
) {
    transom_storage_driver_own_writer_t below;
    bool opened = transom_storage_driver_open_writer(path, mode, &below, error);
    component_string_free(path);
    if (!opened) {
        return false;
    }
    exports_transom_storage_driver_writer_t *self = malloc(sizeof *self);
    self->below = below;
    *writer = exports_transom_storage_driver_writer_new(self);
    return true;
}

uint64_t exports_transom_storage_driver_method_writer_size(exports_transom_storage_driver_borrow_writer_t self) {
    return transom_storage_driver_method_writer_size(transom_storage_driver_borrow_writer(self->below));
}

bool exports_transom_storage_driver_method_writer_write(
    exports_transom_storage_driver_borrow_writer_t self,
    component_list_u8_t *bytes,
    error_type *error
) {
    transom_storage_driver_borrow_writer_t below = transom_storage_driver_borrow_writer(self->below);
    bool encoded = plugin_encode(transom_storage_driver_method_writer_size(below), bytes->ptr, bytes->len);
    bool written = encoded && transom_storage_driver_method_writer_write(below, bytes, error);
    component_list_u8_free(bytes);
    return encoded ? written : failed(error);
}

// Gives up the writer, of which the handle below goes on to somebody else.
static transom_storage_driver_own_writer_t taken(exports_transom_storage_driver_own_writer_t writer) {
    exports_transom_storage_driver_writer_t *self = exports_transom_storage_driver_writer_rep(writer);
    transom_storage_driver_own_writer_t below = self->below;
    self->below.__handle = 0;
    exports_transom_storage_driver_writer_drop_own(writer);
    return below;
}

void exports_transom_storage_driver_writer_destructor(exports_transom_storage_driver_writer_t *self) {
    if (self->below.__handle != 0) {
        transom_storage_driver_writer_drop_own(self->below);
    }
    free(self);
}

bool exports_transom_storage_driver_static_writer_commit(exports_transom_storage_driver_own_writer_t writer, error_type *error) {
    return transom_storage_driver_static_writer_commit(taken(writer), error);
}

bool exports_transom_storage_driver_static_writer_commit_to(
    exports_transom_storage_driver_own_writer_t writer,
    component_string_t *to,
    error_type *error
) {
    bool done = transom_storage_driver_static_writer_commit_to(taken(writer), to, error);
    component_string_free(to);
    return done;
}

bool exports_transom_storage_driver_static_writer_close(exports_transom_storage_driver_own_writer_t writer, error_type *error) {
    return transom_storage_driver_static_writer_close(taken(writer), error);
}

bool exports_transom_storage_driver_static_writer_cancel(exports_transom_storage_driver_own_writer_t writer, error_type *error) {
    return transom_storage_driver_static_writer_cancel(taken(writer), error);
}

// Entries.

static exports_transom_storage_driver_own_entries_t entries(transom_storage_driver_own_entries_t below) {
    exports_transom_storage_driver_entries_t *self = malloc(sizeof *self);
    self->below = below;
    return exports_transom_storage_driver_entries_new(self);
}

bool exports_transom_storage_driver_children(
    component_string_t *folder,
    exports_transom_storage_driver_own_entries_t *found,
    error_type *error
) {
    transom_storage_driver_own_entries_t below;
    bool done = transom_storage_driver_children(folder, &below, error);
    component_string_free(folder);
    if (!done) {
        return false;
    }
    *found = entries(below);
    return true;
}

bool exports_transom_storage_driver_walk(
    component_string_t *folder,
    component_string_t *after,
    exports_transom_storage_driver_own_entries_t *found,
    error_type *error
) {
    transom_storage_driver_own_entries_t below;
    bool done = transom_storage_driver_walk(folder, after, &below, error);
    component_string_free(folder);
    if (after != NULL) {
        component_string_free(after);
    }
    if (!done) {
        return false;
    }
    *found = entries(below);
    return true;
}

bool exports_transom_storage_driver_method_entries_next(
    exports_transom_storage_driver_borrow_entries_t self,
    uint32_t max,
    exports_transom_storage_driver_list_entry_t *page,
    error_type *error
) {
    transom_storage_driver_list_entry_t below;
    transom_storage_driver_borrow_entries_t handle = transom_storage_driver_borrow_entries(self->below);
    if (!transom_storage_driver_method_entries_next(handle, max, &below, error)) {
        return false;
    }
    *page = (exports_transom_storage_driver_list_entry_t){below.ptr, below.len};
    return true;
}

void exports_transom_storage_driver_method_entries_skip(
    exports_transom_storage_driver_borrow_entries_t self,
    component_string_t *folder
) {
    transom_storage_driver_method_entries_skip(transom_storage_driver_borrow_entries(self->below), folder);
    component_string_free(folder);
}

void exports_transom_storage_driver_entries_destructor(exports_transom_storage_driver_entries_t *self) {
    transom_storage_driver_entries_drop_own(self->below);
    free(self);
}

// The rest is as below.

exports_transom_storage_driver_capabilities_t exports_transom_storage_driver_capabilities_of(void) {
    // A client that fetches from the store itself would get what is kept.
    return transom_storage_driver_capabilities_of() & ~TRANSOM_STORAGE_TYPES_CAPABILITIES_REDIRECTS;
}

bool exports_transom_storage_driver_stat(
    component_string_t *path,
    exports_transom_storage_driver_entry_t *entry,
    error_type *error
) {
    bool done = transom_storage_driver_stat(path, entry, error);
    component_string_free(path);
    return done;
}

bool exports_transom_storage_driver_rename(component_string_t *source, component_string_t *to, error_type *error) {
    bool done = transom_storage_driver_rename(source, to, error);
    component_string_free(source);
    component_string_free(to);
    return done;
}

bool exports_transom_storage_driver_delete(component_string_t *path, error_type *error) {
    bool done = transom_storage_driver_delete(path, error);
    component_string_free(path);
    return done;
}

bool exports_transom_storage_driver_redirect(
    component_string_t *path,
    exports_transom_storage_driver_redirect_method_t method,
    uint32_t seconds,
    component_option_string_t *url,
    error_type *error
) {
    (void)method;
    (void)seconds;
    (void)error;
    component_string_free(path);
    url->is_some = false;
    return true;
}

// Settings.

static bool setting(const char *key, uint8_t tag, transom_storage_settings_value_t *value) {
    transom_storage_settings_list_tuple2_string_value_t all;
    transom_storage_settings_config(&all);
    for (size_t at = 0; at < all.len; at++) {
        const component_string_t *name = &all.ptr[at].f0;
        if (name->len == strlen(key) && memcmp(name->ptr, key, name->len) == 0 && all.ptr[at].f1.tag == tag) {
            // The list is small, and asked for when the driver begins: what it holds may stay.
            *value = all.ptr[at].f1;
            return true;
        }
    }
    return false;
}

static char *text_of(component_string_t text) {
    char *copy = malloc(text.len + 1);
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    return copy;
}

bool transom_setting_boolean(const char *key, bool *value) {
    transom_storage_settings_value_t found;
    if (!setting(key, TRANSOM_STORAGE_SETTINGS_VALUE_BOOLEAN, &found)) {
        return false;
    }
    *value = found.val.boolean;
    return true;
}

bool transom_setting_integer(const char *key, int64_t *value) {
    transom_storage_settings_value_t found;
    if (!setting(key, TRANSOM_STORAGE_SETTINGS_VALUE_INTEGER, &found)) {
        return false;
    }
    *value = found.val.integer;
    return true;
}

bool transom_setting_text(const char *key, char **value) {
    transom_storage_settings_value_t found;
    if (!setting(key, TRANSOM_STORAGE_SETTINGS_VALUE_TEXT, &found)) {
        return false;
    }
    *value = text_of(found.val.text);
    return true;
}

bool transom_secret(const char *name, char **value) {
    component_string_t wanted, text;
    component_string_set(&wanted, name);
    transom_storage_settings_own_secret_t secret;
    if (!transom_storage_settings_secret_of(&wanted, &secret)) {
        return false;
    }
    transom_storage_settings_method_secret_reveal(transom_storage_settings_borrow_secret(secret), &text);
    transom_storage_settings_secret_drop_own(secret);
    *value = text_of(text);
    component_string_free(&text);
    return true;
}
