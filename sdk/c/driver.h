// Storage drivers that stand on another and change the bytes of content one for one. A plugin defines three functions; every call
// else is handed to the driver below. Its plugin.toml asks for `inner`.
//
// A driver that is to do more is written against the bindings themselves: `component.h`, which `transom plugin build` leaves in
// target/build/bindings, has a function of each name in wit/storage/storage.wit.

#ifndef TRANSOM_DRIVER_H
#define TRANSOM_DRIVER_H

#include "transom.h"

#ifndef PLUGIN_ASKS_FOR_INNER
#error "the driver stands on another: plugin.toml needs capabilities = [\"inner\"]"
#endif

// Begins. It may look at the configuration.
bool plugin_open(void);
// Turns content, which stands at an offset, into what is kept, in place.
bool plugin_encode(uint64_t offset, uint8_t *bytes, size_t length);
// The other way round.
bool plugin_decode(uint64_t offset, uint8_t *bytes, size_t length);

// The value of a configuration key, which plugin.toml declares with this type; false if it has none.
bool transom_setting_boolean(const char *key, bool *value);
bool transom_setting_integer(const char *key, int64_t *value);
// The text is the caller's to free.
bool transom_setting_text(const char *key, char **value);
// A secret that plugin.toml declares and the operator has given, the caller's to free.
bool transom_secret(const char *name, char **value);

#endif
