// SPDX-License-Identifier: Apache-2.0
/* How this works: modules.dep and modules.builtin become one table, sorted by name, whose entries
 * point into the text of the files. A module is wanted by its name, or by an alias that is looked
 * for line by line. What it needs is planned first, each as a module of its own, so every line of
 * modules.dep counts for its own module alone and the order within a line does not matter.
 *
 * In a tree that a kernel was built in, modules.order stands in for modules.dep: what a module
 * needs is then read from its own file, as depmod would, and an alias stands for the modules called
 * so: that finds crc32c for ext4, but not all that Btrfs has a use for with other checksums.
 *
 * Soft dependencies ("pre:") are planned if they are there: ext4 is of no use without crc32c, which
 * no symbol tells of. */
#include "boot/modules.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "boot/file_cache.h"
#include "boot/unpack.h"
#include "host/fd.h"

enum { NEEDS_MAX = 4096 }; /* of what a module says of itself */
enum { INDEX_SIZE_MAX = 16 << 20, DEPTH_MAX = 64, LOOK_UPS_MAX = 4096 };

enum mark {
    MARK_NEW,      /* nobody asked for it yet */
    MARK_PLANNING, /* what it needs is being planned: to meet it again is a circle */
    MARK_PLANNED,
    MARK_BROKEN, /* something that it needs is missing */
};

struct module {
    const char *path;  /* its last part begins with the name */
    const char *needs; /* paths with blanks between, up to the line's end */
    bool is_built_in;
    enum mark mark;
};

struct modules {
    int folder;   /* -1: not open yet */
    bool is_tree; /* of sources: only modules.order and modules.builtin are there */
    char *dep, *builtin, *alias, *softdep;
    struct module *table;
    size_t count, capacity;
    const char **plan;
    size_t plan_count;
    unsigned look_ups; /* each may take as long as modules.alias is */
};

static int want(struct modules *modules, const char *name, unsigned depth);

/* --- names --- */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* One character of a module's name; 0 at its end, where a file's name goes on with ".ko". */
static int name_char(char c)
{
    if (c == '-')
        return '_';
    return c == '.' || c == ' ' || c == '\t' || c == '\n' ? 0 : (unsigned char)c;
}

static int compare_names(const char *a, const char *b)
{
    while (name_char(*a) && name_char(*a) == name_char(*b)) {
        a++;
        b++;
    }
    return name_char(*a) - name_char(*b);
}

/* Of the same name, what is built in comes first; then the path decides, for one order always. */
static int compare_modules(const void *a, const void *b)
{
    const struct module *left = a, *right = b;
    int order = compare_names(base_name(left->path), base_name(right->path));

    if (!order)
        order = (int)right->is_built_in - (int)left->is_built_in;
    return order ? order : strcmp(left->path, right->path);
}

/* The first entry of that name, or NULL. */
static struct module *find(const struct modules *modules, const char *name)
{
    size_t low = 0, high = modules->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_names(base_name(modules->table[middle].path), name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == modules->count || compare_names(base_name(modules->table[low].path), name))
        return NULL;
    return &modules->table[low];
}

/* --- the indexes --- */

/* Whether a path stays below the folder, as far as its text goes. */
static bool is_inside(const char *path)
{
    if (!*path || *path == '/' || strlen(path) >= PATH_MAX)
        return false;
    for (const char *at = path; (at = strstr(at, "..")); at += 2) {
        bool begins = at == path || at[-1] == '/', ends = at[2] == '/' || !at[2];
        if (begins && ends)
            return false;
    }
    return true;
}

static int add(struct modules *modules, const struct module *module)
{
    if (modules->count == modules->capacity) {
        size_t capacity = modules->capacity ? 2 * modules->capacity : 1024;
        struct module *grown = reallocarray(modules->table, capacity, sizeof(*grown));
        if (!grown)
            return -ENOMEM;
        modules->table = grown;
        modules->capacity = capacity;
    }
    modules->table[modules->count++] = *module;
    return 0;
}

/* Cuts the text into lines; each may be "PATH: NEEDED...", or, of what is built in or in a tree,
 * "PATH". Lines that are neither are passed over. */
static int add_lines(struct modules *modules, char *text, bool is_built_in)
{
    char *rest = text;
    int err = 0;

    for (char *line; !err && (line = strsep(&rest, "\n"));) {
        char *colon = strchr(line, ':');
        if (colon)
            *colon = '\0';
        struct module module = { line, colon ? colon + 1 : "", is_built_in, MARK_NEW };
        if ((colon || is_built_in || modules->is_tree) && is_inside(line))
            err = add(modules, &module);
    }
    return err;
}

/* Reads a file of the folder; one that is not there is as good as empty. */
static int read_index(const struct modules *modules, const char *name, char **ret)
{
    AUTO_CLOSE int fd = openat(modules->folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;

    if (fd < 0 && errno != ENOENT)
        return -errno;
    if (fd >= 0 && fstat(fd, &st))
        return -errno;
    if (fd >= 0 && !S_ISREG(st.st_mode))
        return -EINVAL;
    size_t len = fd < 0 ? 0 : (size_t)st.st_size;
    if (len > INDEX_SIZE_MAX)
        return -EFBIG;
    AUTO_FREE char *text = malloc(len + 1);
    if (!text)
        return -ENOMEM;
    int err = fd < 0 ? 0 : fd_pread_full(fd, text, len, 0);
    if (err)
        return err;
    text[len] = '\0';
    *ret = take_pointer(text);
    return 0;
}

static bool is_tree(int folder)
{
    return faccessat(folder, "modules.dep", F_OK, 0) && !faccessat(folder, ".config", F_OK, 0) &&
           !faccessat(folder, "modules.order", F_OK, 0);
}

static int read_indexes(struct modules *modules, const char *folder)
{
    modules->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (modules->folder < 0)
        return -errno;
    modules->is_tree = is_tree(modules->folder);
    if (!modules->is_tree && faccessat(modules->folder, "modules.dep", F_OK, 0))
        return -errno;
    int err =
        read_index(modules, modules->is_tree ? "modules.order" : "modules.dep", &modules->dep);
    if (!err)
        err = read_index(modules, "modules.builtin", &modules->builtin);
    if (!err)
        err = read_index(modules, "modules.alias", &modules->alias);
    if (!err)
        err = read_index(modules, "modules.softdep", &modules->softdep);
    if (!err)
        err = add_lines(modules, modules->dep, false);
    if (!err)
        err = add_lines(modules, modules->builtin, true);
    if (!err && modules->count)
        qsort(modules->table, modules->count, sizeof(*modules->table), compare_modules);
    return err;
}

int modules_open(const char *folder, struct modules **ret)
{
    struct modules *modules = calloc(1, sizeof(*modules));

    if (!modules)
        return -ENOMEM;
    modules->folder = -1;
    int err = read_indexes(modules, folder);
    if (err) {
        modules_close(modules);
        return err;
    }
    *ret = modules;
    return 0;
}

void modules_close(struct modules *modules)
{
    if (!modules)
        return;
    fd_close(&modules->folder);
    free(modules->dep);
    free(modules->builtin);
    free(modules->alias);
    free(modules->softdep);
    free(modules->table);
    free(modules->plan);
    free(modules);
}

/* --- the plan --- */

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
        if (next_word(&rest, name, sizeof(name)) && !compare_names(name, base_name(path)))
            err = want_pre(modules, rest, depth);
    }
    return err;
}

static int want_needed(struct modules *modules, const char *needs, unsigned depth)
{
    char path[PATH_MAX];
    int err = 0;

    while (err >= 0 && next_word(&needs, path, sizeof(path)))
        err = want(modules, base_name(path), depth);
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
        struct module *module = find(modules, word);
        int err = module ? want_module(modules, module, depth) : -ENOENT;
        if (err >= 0 || err == -ENOMEM || found == -ENOENT)
            found = err;
    }
    return found;
}

/* Whether a module's name is @name, or that and the name of a variant: crc32c_generic. */
static bool is_variant(const char *module, const char *name)
{
    while (name_char(*name) && name_char(*name) == name_char(*module)) {
        name++;
        module++;
    }
    return !name_char(*name) && (!name_char(*module) || name_char(*module) == '_');
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
        const char *own = base_name(module->path);
        if (is_crypto ? !is_variant(own, name) : compare_names(own, name) != 0)
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
    struct module *module = find(modules, name);

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

/* --- files --- */

static int fill(int fd, size_t size, void *room, size_t *ret)
{
    const struct unpack_input input = { fd, 0, size };
    enum unpack_format format;
    uint8_t head[4] = { 0 };

    int err = fd_pread_full(fd, head, size < sizeof(head) ? size : sizeof(head), 0);
    if (err)
        return err;
    if (unpack_recognise(head, &format))
        return unpack(format, &input, room, MODULE_SIZE_MAX, ret);
    err = fd_pread_full(fd, room, size, 0);
    if (!err)
        *ret = size;
    return err;
}

/* Since Linux 6.3 modules.order names the object that a module is linked from. */
static int open_module(const struct modules *modules, const char *path)
{
    char file[PATH_MAX + 1];
    size_t len = strlen(path);
    bool is_object = modules->is_tree && len > 2 && !strcmp(path + len - 2, ".o");

    (void)snprintf(file, sizeof(file), "%.*s%s", (int)(is_object ? len - 2 : len), path,
                   is_object ? ".ko" : "");
    return openat(modules->folder, file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

bool modules_identify(const struct modules *modules, uint64_t *key)
{
    bool is_packed = false;

    for (size_t i = 0; i < modules->plan_count; i++) {
        const char *path = modules->plan[i], *ending = strrchr(path, '.');
        AUTO_CLOSE int fd = open_module(modules, path);
        struct stat st;
        if (fd < 0 || fstat(fd, &st))
            return false;
        const int64_t facts[] = { st.st_size, st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
                                  (int64_t)st.st_ino };
        *key = file_cache_key(*key, path, strlen(path) + 1);
        *key = file_cache_key(*key, facts, sizeof(facts));
        is_packed |= ending && strcmp(ending, ".ko") != 0 && strcmp(ending, ".o") != 0;
    }
    return is_packed;
}

int modules_read(const struct modules *modules, const char *path, void **data, size_t *len)
{
    AUTO_CLOSE int fd = open_module(modules, path);
    struct stat st;

    if (fd < 0 || fstat(fd, &st))
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EINVAL;
    if (st.st_size > MODULE_SIZE_MAX)
        return -EFBIG;
    /* How large it will be is not known before: only what is used of this becomes memory. */
    void *room = mmap(NULL, MODULE_SIZE_MAX, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED)
        return -errno;
    int err = fill(fd, (size_t)st.st_size, room, len);
    if (err)
        modules_free(room);
    else
        *data = room;
    return err;
}

void modules_free(void *data)
{
    if (data)
        (void)munmap(data, MODULE_SIZE_MAX);
}

const char *modules_option(const char *name)
{
    static const char *const options[][2] = {
        { "ext4", "EXT4_FS" },
        { "fuse", "FUSE_FS" },
        { "overlay", "OVERLAY_FS" },
        { "virtio_blk", "VIRTIO_BLK" },
        { "virtio_console", "VIRTIO_CONSOLE" },
        { "virtio_mmio", "VIRTIO_MMIO" },
        { "virtio_net", "VIRTIO_NET" },
        { "virtio_pci", "VIRTIO_PCI" },
        { "virtio_rng", "HW_RANDOM_VIRTIO" },
        { "virtiofs", "VIRTIO_FS" },
        { "vmw_vsock_virtio_transport", "VIRTIO_VSOCKETS" },
    };

    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        if (!compare_names(options[i][0], name))
            return options[i][1];
    }
    return NULL;
}
