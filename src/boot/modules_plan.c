// SPDX-License-Identifier: Apache-2.0
/* Which modules to load, and in which order.
 *
 * How this works: a module is wanted by its name, or by an alias that is looked for line by line.
 * What it needs is planned first, each as a module of its own, so every line of modules.dep counts
 * for its own module alone and the order within a line does not matter.
 *
 * In a tree that a kernel was built in, what a module needs is read from its own file, as depmod
 * would, and an alias stands for the modules called so: that finds crc32c for ext4, but not all
 * that Btrfs has a use for with other checksums.
 *
 * Soft dependencies ("pre:") are planned if they are there: ext4 is of no use without crc32c, which
 * no symbol tells of. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/fd.h"
#include "modules_private.h"

enum {
    NEEDS_MAX = 4096, /* of what a module says of itself */
    DEPTH_MAX = 64,
    LOOK_UPS_MAX = 4096,
};

static int want(struct modules *modules, const char *name, unsigned depth);

static int append(struct modules *modules, const char *path)
{
    const char **grown = reallocarray(modules->plan, modules->plan_count + 1, sizeof(*grown));

    if (!grown)
        return -ENOMEM;
    modules->plan = grown;
    modules->plan[modules->plan_count++] = path;
    return 0;
}

/* Copies the next word of a line, and moves *@at behind it. False at the line's end, or if the word
 * is longer than any that counts. */
static bool next_word(const char **at, char *word, size_t size)
{
    const char *from = *at + strspn(*at, " \t");
    size_t len = strcspn(from, " \t\n");

    if (!len || len >= size)
        return false;
    memcpy(word, from, len);
    word[len] = '\0';
    *at = from + len;
    return true;
}

/* Goes through the lines "KEYWORD ..." of a text. */
static const char *next_line(const char *at, const char *keyword)
{
    size_t len = strlen(keyword);

    for (; at && *at; at = strchr(at, '\n')) {
        at += *at == '\n';
        if (!strncmp(at, keyword, len) && at[len] == ' ')
            return at + len + 1;
    }
    return NULL;
}

/* What stands between "pre:" and the next such word of a line; nobody minds what is missing. */
static int want_pre(struct modules *modules, const char *line, unsigned depth)
{
    char word[NAME_MAX + 1];
    bool is_pre = false;
    int err = 0;

    while (err != -ENOMEM && next_word(&line, word, sizeof(word))) {
        bool is_heading = !strcmp(word, "pre:") || !strcmp(word, "post:");
        if (is_heading)
            is_pre = !strcmp(word, "pre:");
        else if (is_pre)
            err = want(modules, word, depth);
    }
    return err == -ENOMEM ? err : 0;
}

static int want_soft(struct modules *modules, const char *path, unsigned depth)
{
    const char *line = modules->softdep;
    char name[NAME_MAX + 1];
    int err = 0;

    while (!err && (line = next_line(line, "softdep"))) {
        const char *rest = line;
        if (next_word(&rest, name, sizeof(name)) &&
            !module_compare_names(name, module_base_name(path)))
            err = want_pre(modules, rest, depth);
    }
    return err;
}

static int want_needed(struct modules *modules, const char *needs, unsigned depth)
{
    char path[PATH_MAX];
    int err = 0;

    while (err >= 0 && next_word(&needs, path, sizeof(path)))
        err = want(modules, module_base_name(path), depth);
    return err < 0 ? err : 0;
}

/* What a module says of itself, NAME=TEXT between NULs, from *@at on: copies the text, and moves
 * *@at behind it. False if there is no more, or it is too long. */
static bool next_info(const char **at, const char *end, const char *name, char text[NEEDS_MAX])
{
    char key[32];
    size_t key_len = (size_t)snprintf(key, sizeof(key), "%c%s=", 0, name);
    const char *found = memmem(*at, (size_t)(end - *at), key, key_len);

    if (!found)
        return false;
    found += key_len;
    size_t len = strnlen(found, (size_t)(end - found));
    if (len >= NEEDS_MAX)
        return false;
    memcpy(text, found, len);
    text[len] = '\0';
    *at = found + len;
    return true;
}

/* As want_needed() and want_soft(), by a module's own words: "depends=a,b", "softdep=pre: c". */
static int want_told(struct modules *modules, const char *data, size_t len, unsigned depth)
{
    AUTO_FREE char *text = malloc(NEEDS_MAX);
    const char *at = data;
    int err = 0;

    if (!text)
        return -ENOMEM;
    if (next_info(&at, data + len, "depends", text)) {
        for (char *comma = text; (comma = strchr(comma, ','));)
            *comma = ' ';
        err = want_needed(modules, text, depth);
    }
    at = data;
    while (!err && next_info(&at, data + len, "softdep", text))
        err = want_pre(modules, text, depth);
    return err;
}

static int want_of_file(struct modules *modules, const char *path, unsigned depth)
{
    void *data;
    size_t len;
    int err = modules_read(modules, path, &data, &len);

    if (err)
        return err;
    err = want_told(modules, data, len, depth);
    modules_free(data);
    return err;
}

static int plan(struct modules *modules, struct module *module, unsigned depth)
{
    module->mark = MARK_PLANNING;
    int err = modules->is_tree ? want_of_file(modules, module->path, depth)
                               : want_needed(modules, module->needs, depth);
    if (!err && !modules->is_tree)
        err = want_soft(modules, module->path, depth);
    if (!err)
        err = append(modules, module->path);
    module->mark = err ? MARK_BROKEN : MARK_PLANNED;
    return err ? err : MODULE_PLANNED;
}

static int want_module(struct modules *modules, struct module *module, unsigned depth)
{
    if (module->is_built_in)
        return MODULE_BUILT_IN;
    switch (module->mark) {
    case MARK_NEW:
        return depth < DEPTH_MAX ? plan(modules, module, depth + 1) : -ELOOP;
    case MARK_PLANNING:
        return -ELOOP;
    case MARK_PLANNED:
        return MODULE_PLANNED;
    case MARK_BROKEN:
        break;
    }
    return -ENOENT;
}

/* All modules that an alias stands for: of several that do the same, only trying tells which one
 * works on this CPU. */
static int want_alias(struct modules *modules, const char *name, unsigned depth)
{
    const char *line = modules->alias;
    char word[NAME_MAX + 1];
    int found = -ENOENT;

    while (found != -ENOMEM && (line = next_line(line, "alias"))) {
        const char *rest = line;
        if (!next_word(&rest, word, sizeof(word)) || strcmp(word, name) ||
            !next_word(&rest, word, sizeof(word)))
            continue;
        struct module *module = modules_find(modules, word);
        int err = module ? want_module(modules, module, depth) : -ENOENT;
        if (err >= 0 || err == -ENOMEM || found == -ENOENT)
            found = err;
    }
    return found;
}

/* Whether a module's name is @name, or that and the name of a variant: crc32c_generic. */
static bool is_variant(const char *module, const char *name)
{
    while (module_name_char(*name) && module_name_char(*name) == module_name_char(*module)) {
        name++;
        module++;
    }
    return !module_name_char(*name) &&
           (!module_name_char(*module) || module_name_char(*module) == '_');
}

/* As want_alias() in a tree, where nothing lists the aliases: those for algorithms ("crypto-NAME")
 * and file systems ("fs-NAME") have the module's name in them. */
static int want_tree_alias(struct modules *modules, const char *name, unsigned depth)
{
    bool is_crypto = !strncmp(name, "crypto-", 7), is_fs = !strncmp(name, "fs-", 3);
    int found = -ENOENT;

    name += is_crypto ? 7 : is_fs ? 3 : 0;
    for (size_t i = 0; (is_crypto || is_fs) && *name && i < modules->count; i++) {
        struct module *module = &modules->table[i];
        const char *own = module_base_name(module->path);
        if (is_crypto ? !is_variant(own, name) : module_compare_names(own, name) != 0)
            continue;
        int err = want_module(modules, module, depth);
        if (err == -ENOMEM)
            return err;
        if (err >= 0 || found == -ENOENT)
            found = err;
    }
    return found;
}

static int want(struct modules *modules, const char *name, unsigned depth)
{
    struct module *module = modules_find(modules, name);

    if (modules->look_ups++ >= LOOK_UPS_MAX)
        return -ELOOP;
    if (module)
        return want_module(modules, module, depth);
    return modules->is_tree ? want_tree_alias(modules, name, depth)
                            : want_alias(modules, name, depth);
}

int modules_want(struct modules *modules, const char *name)
{
    return want(modules, name, 0);
}

size_t modules_plan(const struct modules *modules, const char *const **ret)
{
    *ret = modules->plan;
    return modules->plan_count;
}
