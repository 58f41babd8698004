// SPDX-License-Identifier: Apache-2.0
/* Without a word from the user the first of these is taken:
 *
 *   1. what was built in the working directory, if that is a tree of Linux
 *   2. the kernel that runs on this host
 *   3. the newest that is installed
 *   4. the newest in the cache
 *
 * Distributions let only root read kernels in /boot: what we may not read is passed over, and in
 * the end that is told with the way out. */
#include "kernel_resolve.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "host/fd.h"
#include "host/log.h"
#include "kernel_find.h"
#include "kernel_image.h"

/* --- trees of sources --- */

/* Whether @folder is a tree of Linux that something was built in, or will be. */
static bool is_tree(const char *folder)
{
    char path[PATH_MAX];
    int len = snprintf(path, sizeof(path), "%s/.config", folder);

    return len < (int)sizeof(path) && !access(path, F_OK);
}

/* The image that a tree has; NULL if there is no memory. */
static char *tree_image(const char *folder)
{
    char *path;
    bool is_here = !strcmp(folder, ".");

    if (asprintf(&path, "%s%s%s", is_here ? "" : folder, is_here ? "" : "/", kernel_tree_image) < 0)
        return NULL;
    return path;
}

/* -k FOLDER. What is no tree stays as it is, and is refused as a folder later. */
static int resolve_tree(char **kernel)
{
    char *image;

    if (!is_tree(*kernel))
        return 0;
    image = tree_image(*kernel);
    if (!image)
        return log_errno(-ENOMEM, "kernel '%s'", *kernel);
    if (access(image, F_OK)) {
        log_error("kernel '%s': a tree of Linux without %s; build it first", *kernel,
                  kernel_tree_image);
        free(image);
        return -ENOENT;
    }
    free(*kernel);
    *kernel = image;
    return 0;
}

/* --- kernels that are not named --- */

static bool is_readable(const struct kernel *kernel)
{
    if (!access(kernel->path, R_OK))
        return true;
    log_info("'%s': we may not read it", kernel->path);
    return false;
}

/* "6.1" is a beginning of "6.1.0-1-amd64", but not of "6.12.1". */
static bool is_beginning(const char *release, const char *wanted)
{
    size_t len = strlen(wanted);

    return !strncmp(release, wanted, len) &&
           !(isdigit((unsigned char)release[len]) && isdigit((unsigned char)wanted[len - 1]));
}

static bool is_release(const char *release, const char *wanted)
{
    return !strcmp(release, wanted);
}

/* The first that fits and can be read; *@unreadable is the first that only fits. */
static const struct kernel *find_fitting(const struct kernel_list *list, const char *wanted,
                                         bool (*fits)(const char *, const char *),
                                         enum kernel_origin last, const struct kernel **unreadable)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct kernel *kernel = &list->kernels[i];
        if (kernel->origin > last || (fits && !fits(kernel->release, wanted)))
            continue;
        if (is_readable(kernel))
            return kernel;
        if (!*unreadable)
            *unreadable = kernel;
    }
    return NULL;
}

static const struct kernel *find_running(const struct kernel_list *list,
                                         const struct kernel **unreadable)
{
    struct utsname name;
    (void)uname(&name);

    const struct kernel *found =
        find_fitting(list, name.release, is_release, KERNEL_INSTALLED, unreadable);
    if (found)
        log_info("'%s': the kernel that runs here", found->path);
    else if (!*unreadable)
        log_info("the kernel that runs here, %s: its image is neither in /boot nor in "
                 "/usr/lib/modules",
                 name.release);
    return found;
}

static const struct kernel *find_installed(const struct kernel_list *list,
                                           const struct kernel **unreadable)
{
    const struct kernel *found = find_fitting(list, NULL, NULL, KERNEL_INSTALLED, unreadable);

    if (found)
        log_info("'%s': the newest that is installed", found->path);
    else
        log_info("/boot, /usr/lib/modules: no kernel that we could take");
    return found;
}

static const struct kernel *find_cached(const struct kernel_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct kernel *kernel = &list->kernels[i];
        if (kernel->origin == KERNEL_CACHED && is_readable(kernel)) {
            log_info("'%s': the newest in the cache", kernel->path);
            return kernel;
        }
    }
    log_info("the cache: no kernel; `hutch kernel pull` gets one");
    return NULL;
}

static int refuse_unreadable(const struct kernel *kernel)
{
    log_error("kernel '%s': we may not read it; make it readable (`sudo chmod a+r '%s'`), or get "
              "one with `hutch kernel pull`",
              kernel->path, kernel->path);
    return -EACCES;
}

/* Names every place that was looked at, in the order of looking. */
static int refuse_none(void)
{
    AUTO_FREE char *cache = NULL;
    struct utsname name;

    (void)uname(&name);
    if (kernel_cache_folder(&cache))
        cache = NULL;
    log_error("no kernel: none was built in this folder (%s), the one that runs here (%s) and "
              "others are neither in /boot nor in /usr/lib/modules, and none was pulled%s%s; name "
              "one with -k FILE, or get one with `hutch kernel pull`",
              kernel_tree_image, name.release, cache ? " into " : "", cache ? cache : "");
    return -ENOENT;
}

static int find_default(const struct kernel_list *list, const struct kernel **ret)
{
    const struct kernel *unreadable = NULL;

    *ret = find_running(list, &unreadable);
    if (!*ret)
        *ret = find_installed(list, &unreadable);
    if (!*ret)
        *ret = find_cached(list);
    if (*ret)
        return 0;
    if (unreadable)
        return refuse_unreadable(unreadable);
    return refuse_none();
}

static int find_host(const struct kernel_list *list, const struct kernel **ret)
{
    const struct kernel *unreadable = NULL;
    struct utsname name;

    *ret = find_running(list, &unreadable);
    if (*ret)
        return 0;
    if (unreadable)
        return refuse_unreadable(unreadable);
    (void)uname(&name);
    log_error("kernel 'host': the image of the running kernel, %s, is neither in /boot nor in "
              "/usr/lib/modules; name another with -k FILE, or get one with `hutch kernel pull`",
              name.release);
    return -ENOENT;
}

static int find_version(const struct kernel_list *list, const char *wanted,
                        const struct kernel **ret)
{
    const struct kernel *unreadable = NULL;

    *ret = find_fitting(list, wanted, is_release, KERNEL_CACHED, &unreadable);
    if (!*ret)
        *ret = find_fitting(list, wanted, is_beginning, KERNEL_CACHED, &unreadable);
    if (*ret)
        return 0;
    if (unreadable)
        return refuse_unreadable(unreadable);
    log_error("kernel '%s': neither a file nor a release that is installed or was pulled; "
              "`hutch kernel ls` lists those, `hutch kernel pull` gets one",
              wanted);
    return -ENOENT;
}

static int choose(const struct kernel_list *list, const char *wanted, const struct kernel **ret)
{
    if (!wanted)
        return find_default(list, ret);
    return strcmp(wanted, "host") ? find_version(list, wanted, ret) : find_host(list, ret);
}

static int resolve_by_list(char **kernel)
{
    struct kernel_list list;
    const struct kernel *found = NULL;
    char *path = NULL;

    int err = kernel_list_read(&list);
    if (err)
        return log_errno(err, "list of kernels");
    err = choose(&list, *kernel, &found);
    if (!err) {
        path = strdup(found->path);
        err = path ? 0 : log_errno(-ENOMEM, "kernel '%s'", found->path);
    }
    kernel_list_fini(&list);
    if (path) {
        free(*kernel);
        *kernel = path;
    }
    return err;
}

/* What was built in the working directory, if anything was. */
static int resolve_here(char **kernel)
{
    char *image = tree_image(".");

    if (!image)
        return log_errno(-ENOMEM, "kernel");
    if (is_tree(".") && !access(image, R_OK)) {
        log_info("'%s': built in this folder", image);
        *kernel = image;
        return 0;
    }
    log_info("'%s': none was built in this folder", image);
    free(image);
    return 0;
}

/* --- what is named --- */

/* A file in the working directory is taken before a release of its name. */
static bool names_file(const char *kernel, struct stat *st)
{
    if (!strcmp(kernel, "host"))
        return false;
    bool is_there = !stat(kernel, st);
    if (!is_there)
        *st = (struct stat){ 0 };
    return strchr(kernel, '/') || is_there || !lstat(kernel, &(struct stat){ 0 });
}

static int resolve_file(char **kernel, const struct stat *st)
{
    int err = S_ISDIR(st->st_mode) ? resolve_tree(kernel) : 0;

    if (!err && access(*kernel, R_OK) && errno == EACCES)
        return refuse_unreadable(&(struct kernel){ .path = *kernel });
    return err;
}

int kernel_resolve(char **kernel)
{
    struct stat st;

    if (*kernel && !**kernel) {
        log_error("kernel '': the name of a file or a release is missing");
        return -EINVAL;
    }
    if (*kernel && names_file(*kernel, &st))
        return resolve_file(kernel, &st);
    if (!*kernel) {
        int err = resolve_here(kernel);
        if (err || *kernel)
            return err;
    }
    return resolve_by_list(kernel);
}
