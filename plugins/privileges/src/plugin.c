// Finds what in a layer gives more rights than its user has: programs that run as somebody else, file capabilities, devices, and what
// everybody may write to. The layer passes unchanged; only when the operator sets `refuse` is it refused.

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "processor.h"
#include "tar.h"

// The record that tars keep file capabilities in (libarchive, star, GNU tar and containerd alike).
#define CAPABILITIES "SCHILY.xattr.security.capability"

#define SETUID 04000
#define SETGID 02000
#define STICKY 01000
#define OTHERS_WRITE 00002

// The rules, in the order in which they are reported.
typedef enum rule { RULE_SETUID, RULE_SETGID, RULE_CAPABILITIES, RULE_DEVICE, RULE_WRITABLE, RULES } rule;

static const struct {
    const char *name;
    transom_severity severity;
    const char *message;
} rules[RULES] = {
    {"setuid", TRANSOM_WARNING, "runs as its owner, whoever starts it"},
    {"setgid", TRANSOM_WARNING, "runs with its group, whoever starts it"},
    {"capabilities", TRANSOM_WARNING, "has file capabilities"},
    {"device", TRANSOM_CRITICAL, "is a device"},
    {"world-writable", TRANSOM_INFO, "can be written to by everybody"},
};

typedef struct scan {
    const transom_job *job;
    transom_outcome *outcome;
    int64_t listed_most;
    int64_t listed;
    uint64_t counts[RULES];
    uint64_t allowed;
} scan;

// The path without what says nothing: a slash or `./` in front, a slash behind.
static transom_bytes plain(const char *path) {
    while (*path == '/' || (path[0] == '.' && path[1] == '/')) {
        path += *path == '/' ? 1 : 2;
    }
    size_t length = strlen(path);
    while (length > 0 && path[length - 1] == '/') {
        length--;
    }
    return (transom_bytes){(const uint8_t *)path, length};
}

// Whether the operator knows of it: a line of `allow` is a rule, or `*`, and a path, which may have `*` and `?`.
static bool is_allowed(const scan *scan, const char *rule, const char *path) {
    transom_bytes line;
    for (size_t number = 0; transom_config_texts(scan->job, "allow", number, &line); number++) {
        char text[1024];
        if (line.length >= sizeof text) {
            continue;
        }
        memcpy(text, line.at, line.length);
        text[line.length] = '\0';
        char *space = strchr(text, ' ');
        if (space == NULL) {
            continue;
        }
        *space = '\0';
        bool is_rule = strcmp(text, "*") == 0 || strcmp(text, rule) == 0;
        if (is_rule && fnmatch(space + 1, path, FNM_PATHNAME) == 0) {
            return true;
        }
    }
    return false;
}

static void found(scan *scan, rule rule, const char *path) {
    if (is_allowed(scan, rules[rule].name, path)) {
        scan->allowed++;
        return;
    }
    scan->counts[rule]++;
    if (scan->listed < scan->listed_most) {
        scan->listed++;
        transom_find(scan->outcome, rules[rule].severity, rules[rule].name, path, "%s", rules[rule].message);
    }
}

static void look(void *context, const transom_tar_entry *entry) {
    scan *scan = context;
    char path[4096];
    transom_bytes name = plain(entry->path), value;
    snprintf(path, sizeof path, "%.*s", (int)name.length, (const char *)name.at);
    bool is_file = entry->kind == '0' || entry->kind == '7' || entry->kind == 'S';
    bool is_folder = entry->kind == '5';
    if (is_file && entry->mode & SETUID) {
        found(scan, RULE_SETUID, path);
    }
    if (is_file && entry->mode & SETGID) {
        found(scan, RULE_SETGID, path);
    }
    if (is_file && transom_tar_record(entry, CAPABILITIES, &value)) {
        found(scan, RULE_CAPABILITIES, path);
    }
    if (entry->kind == '3' || entry->kind == '4') {
        found(scan, RULE_DEVICE, path);
    }
    bool is_open = is_file || (is_folder && !(entry->mode & STICKY));
    if (is_open && entry->mode & OTHERS_WRITE) {
        found(scan, RULE_WRITABLE, path);
    }
}

static bool has_line(const transom_job *job, const char *key, const char *line) {
    transom_bytes value;
    for (size_t number = 0; transom_config_texts(job, key, number, &value); number++) {
        if (value.length == strlen(line) && memcmp(value.at, line, value.length) == 0) {
            return true;
        }
    }
    return false;
}

// Every rule that is named must be one.
static bool check_config(const transom_job *job) {
    transom_bytes name;
    for (size_t number = 0; transom_config_texts(job, "refuse", number, &name); number++) {
        bool is_known = false;
        for (int rule = 0; rule < RULES; rule++) {
            is_known |= name.length == strlen(rules[rule].name) && memcmp(name.at, rules[rule].name, name.length) == 0;
        }
        if (!is_known) {
            return transom_misconfigured(
                "refuse",
                "there is no rule \"%.*s\": setuid, setgid, capabilities, device, world-writable",
                (int)name.length,
                (const char *)name.at
            );
        }
    }
    transom_bytes line;
    for (size_t number = 0; transom_config_texts(job, "allow", number, &line); number++) {
        if (memchr(line.at, ' ', line.length) == NULL || line.length >= 1024) {
            return transom_misconfigured("allow", "want RULE PATH in less than 1024 bytes, as in \"setuid usr/bin/su\"");
        }
    }
    return true;
}

static void report(const scan *scan) {
    for (int rule = 0; rule < RULES; rule++) {
        if (scan->counts[rule] == 0) {
            continue;
        }
        char key[64];
        snprintf(key, sizeof key, "dev.transom.privileges.%s", rules[rule].name);
        transom_annotate(scan->outcome, key, "%llu", (unsigned long long)scan->counts[rule]);
        if (has_line(scan->job, "refuse", rules[rule].name)) {
            transom_refuse(
                scan->outcome,
                "%llu file(s) of the layer break the rule %s",
                (unsigned long long)scan->counts[rule],
                rules[rule].name
            );
        }
    }
    if (scan->allowed > 0) {
        transom_annotate(scan->outcome, "dev.transom.privileges.allowed", "%llu", (unsigned long long)scan->allowed);
    }
}

bool plugin_run(const transom_job *job, transom_input *input, transom_output *output, transom_outcome *outcome) {
    if (!check_config(job)) {
        return false;
    }
    scan scan = {.job = job, .outcome = outcome};
    transom_config_integer(job, "max_findings", &scan.listed_most);
    transom_tar tar;
    transom_tar_begin(&tar, look, &scan);
    transom_bytes chunk;
    while (transom_read(input, &chunk)) {
        if (!transom_tar_feed(&tar, chunk) || !transom_write(output, chunk)) {
            return false;
        }
    }
    if (!transom_ended(input) || !transom_tar_end(&tar)) {
        return false;
    }
    report(&scan);
    return true;
}
