// SPDX-License-Identifier: Apache-2.0
/* The indexes of a folder of modules.
 *
 * How this works: modules.dep and modules.builtin become one table, sorted by name, whose entries
 * point into the text of the files. In a tree that a kernel was built in, modules.order stands in
 * for modules.dep. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/fd.h"
#include "modules_private.h"

enum { INDEX_SIZE_MAX = 16 << 20 };

/* --- names --- */

const char *module_base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

int module_name_char(char c)
{
    if (c == '-')
        return '_';
    return c == '.' || c == ' ' || c == '\t' || c == '\n' ? 0 : (unsigned char)c;
}

int module_compare_names(const char *a, const char *b)
{
    while (module_name_char(*a) && module_name_char(*a) == module_name_char(*b)) {
        a++;
        b++;
    }
    return module_name_char(*a) - module_name_char(*b);
}

/* Of the same name, what is built in comes first; then the path decides, for one order always. */
static int compare_modules(const void *a, const void *b)
{
    const struct module *left = a, *right = b;
    int order = module_compare_names(module_base_name(left->path), module_base_name(right->path));

    if (!order)
        order = (int)right->is_built_in - (int)left->is_built_in;
    return order ? order : strcmp(left->path, right->path);
}

struct module *modules_find(const struct modules *modules, const char *name)
{
    size_t low = 0, high = modules->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (module_compare_names(module_base_name(modules->table[middle].path), name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == modules->count ||
        module_compare_names(module_base_name(modules->table[low].path), name))
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
