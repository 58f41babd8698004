// SPDX-License-Identifier: Apache-2.0
/* Any bytes as the indexes of a folder of modules, apart by NULs, the first the names that are
 * wanted; and the same bytes as a module's file, packed or not. If they begin with a 'T', the
 * folder is a tree that a kernel was built in. */
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boot/modules.h"
#include "host/fd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[] = "/tmp/hutch-fuzz-modules.XXXXXX";
static int folder_fd = -1;
static const char *const files[] = { "modules.dep",   "modules.builtin",
                                     "modules.alias", "modules.softdep",
                                     "a.ko",          "modules.order",
                                     ".config" };
enum { FILE_COUNT = sizeof(files) / sizeof(files[0]) };

static void remove_folder(void)
{
    for (size_t i = 0; i < FILE_COUNT; i++)
        (void)unlinkat(folder_fd, files[i], 0);
    (void)rmdir(folder);
}

static void make_folder(void)
{
    if (!mkdtemp(folder) || (folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 ||
        atexit(remove_folder))
        abort();
}

static void write_file(const char *name, const uint8_t *data, size_t len)
{
    AUTO_CLOSE int fd = openat(folder_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0 || fd_write_full(fd, data, len))
        abort();
}

/* Cuts off what is in front of a NUL, and copies it. */
static char *next_part(const uint8_t **data, size_t *size)
{
    const uint8_t *end = memchr(*data, 0, *size);
    size_t len = end ? (size_t)(end - *data) : *size;
    char *part = strndup((const char *)*data, len);

    if (!part)
        abort();
    *data += len + (end ? 1 : 0);
    *size -= len + (end ? 1 : 0);
    return part;
}

static void want_all(struct modules *modules, char *names)
{
    const char *const *plan;
    char *rest = NULL;

    for (char *name = strtok_r(names, "\n", &rest); name; name = strtok_r(NULL, "\n", &rest))
        (void)modules_want(modules, name);
    size_t count = modules_plan(modules, &plan);
    for (size_t i = 0; i < count; i++) {
        if (plan[i][0] == '/' || !strncmp(plan[i], "../", 3) || strstr(plan[i], "/../"))
            abort();
        for (size_t j = 0; j < i; j++) {
            if (plan[i] == plan[j])
                abort();
        }
    }
}

static void read_module(const struct modules *modules)
{
    void *bytes;
    size_t len;

    if (modules_read(modules, "a.ko", &bytes, &len))
        return;
    if (len > MODULE_SIZE_MAX)
        abort();
    modules_free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct modules *modules;

    if (folder_fd < 0)
        make_folder();
    write_file("a.ko", data, size);
    bool is_tree = size > 0 && data[0] == 'T';
    for (size_t i = 0; i < FILE_COUNT; i++) {
        if (strcmp(files[i], "a.ko") != 0)
            (void)unlinkat(folder_fd, files[i], 0);
    }
    if (is_tree)
        write_file(".config", data, 0);
    char *names = next_part(&data, &size);
    for (size_t i = 0; i < 4; i++) {
        char *part = next_part(&data, &size);
        write_file(is_tree && i == 0 ? "modules.order" : files[i], (const uint8_t *)part,
                   strlen(part));
        free(part);
    }
    if (modules_open(folder, &modules) == 0) {
        want_all(modules, names);
        read_module(modules);
        modules_close(modules);
    }
    free(names);
    return 0;
}
