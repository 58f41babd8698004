// SPDX-License-Identifier: Apache-2.0
/* Looks for kernels where distributions and `hutch kernel pull` put them:
 *
 *   /boot/vmlinuz-RELEASE
 *   /usr/lib/modules/RELEASE/vmlinuz     (or /lib, where that is not the same folder)
 *   CACHE/kernels/PACKAGE_VERSION/boot/vmlinuz-RELEASE */
#include "kernel_find.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/fd.h"
#include "kernel_config.h"

static const char image_prefix[] = "vmlinuz-";

/* The user's home, also where nobody has set HOME: under cron, sudo -i or env -i. */
static const char *find_home(void)
{
    const char *home = getenv("HOME");

    if (home && *home)
        return home;
    const struct passwd *user = getpwuid(getuid());
    return user && *user->pw_dir ? user->pw_dir : NULL;
}

static int cache_folder(const char *name, char **ret)
{
    const char *cache = getenv("XDG_CACHE_HOME");
    bool is_named = cache && *cache;
    const char *base = is_named ? cache : find_home();
    char *path;

    if (!base)
        return -ENOENT;
    if (asprintf(&path, "%s%s/hutch/%s", base, is_named ? "" : "/.cache", name) < 0)
        return -ENOMEM;
    *ret = path;
    return 0;
}

int kernel_cache_folder(char **ret)
{
    return cache_folder("kernels", ret);
}

int initrd_cache_folder(char **ret)
{
    return cache_folder("initramfs", ret);
}

int unpacked_cache_folder(char **ret)
{
    return cache_folder("unpacked", ret);
}

/* @name: the release that the file or folder is called by, for an image that tells none. */
static int add_kernel(struct kernel_list *list, const char *name, const char *path,
                      enum kernel_origin origin)
{
    char told[KERNEL_RELEASE_LEN];
    const char *release = kernel_release_peek(path, told) ? name : told;
    struct kernel *grown = reallocarray(list->kernels, list->count + 1, sizeof(*grown));

    if (!grown)
        return -ENOMEM;
    list->kernels = grown;
    struct kernel *kernel = &grown[list->count++];
    *kernel = (struct kernel){ strdup(release), strdup(path), origin };
    return kernel->release && kernel->path ? 0 : -ENOMEM;
}

void kernel_list_fini(struct kernel_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->kernels[i].release);
        free(list->kernels[i].path);
    }
    free(list->kernels);
    *list = (struct kernel_list){ 0 };
}

static bool is_file(const char *path)
{
    struct stat st;

    return !stat(path, &st) && S_ISREG(st.st_mode);
}

/* Calls @each with every visible name in @folder, until it fails. */
static int for_each_name(const char *folder,
                         int (*each)(struct kernel_list *, const char *folder, const char *name),
                         struct kernel_list *list)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    int err = 0;

    if (!dir)
        return 0;
    while (!err && (entry = readdir(dir))) {
        if (entry->d_name[0] != '.')
            err = each(list, folder, entry->d_name);
    }
    (void)closedir(dir);
    return err;
}

static int add_image(struct kernel_list *list, const char *folder, const char *name,
                     enum kernel_origin origin)
{
    const char *release = name + sizeof(image_prefix) - 1;
    char path[PATH_MAX];

    if (strncmp(name, image_prefix, sizeof(image_prefix) - 1) != 0 ||
        !isdigit((unsigned char)*release))
        return 0;
    if (snprintf(path, sizeof(path), "%s/%s", folder, name) >= (int)sizeof(path) || !is_file(path))
        return 0;
    return add_kernel(list, release, path, origin);
}

static int add_boot_image(struct kernel_list *list, const char *folder, const char *name)
{
    return add_image(list, folder, name, KERNEL_INSTALLED);
}

static int add_cached_image(struct kernel_list *list, const char *folder, const char *name)
{
    return add_image(list, folder, name, KERNEL_CACHED);
}

static int add_module_folder(struct kernel_list *list, const char *folder, const char *name)
{
    char path[PATH_MAX];

    if (snprintf(path, sizeof(path), "%s/%s/vmlinuz", folder, name) >= (int)sizeof(path) ||
        !is_file(path))
        return 0;
    return add_kernel(list, name, path, KERNEL_INSTALLED);
}

static int add_cache_folder(struct kernel_list *list, const char *folder, const char *name)
{
    char path[PATH_MAX];

    if (snprintf(path, sizeof(path), "%s/%s/boot", folder, name) >= (int)sizeof(path))
        return 0;
    return for_each_name(path, add_cached_image, list);
}

/* Newest first; of the same release, what is installed. */
static int compare_kernels(const void *a, const void *b)
{
    const struct kernel *left = a, *right = b;
    int order = strverscmp(right->release, left->release);

    return order ? order : (int)left->origin - (int)right->origin;
}

static int read_all(struct kernel_list *list)
{
    AUTO_FREE char *cache = NULL;
    char target[PATH_MAX];
    int err = kernel_cache_folder(&cache);

    if (err == -ENOENT)
        err = 0; /* without a cache there is nothing in it */
    if (!err)
        err = for_each_name("/boot", add_boot_image, list);
    if (!err)
        err = for_each_name("/usr/lib/modules", add_module_folder, list);
    if (!err && readlink("/lib", target, sizeof(target)) < 0)
        err = for_each_name("/lib/modules", add_module_folder, list);
    if (!err && cache)
        err = for_each_name(cache, add_cache_folder, list);
    return err;
}

int kernel_list_read(struct kernel_list *ret)
{
    struct kernel_list list = { 0 };
    int err = read_all(&list);

    if (err) {
        kernel_list_fini(&list);
        return err;
    }
    if (list.count)
        qsort(list.kernels, list.count, sizeof(*list.kernels), compare_kernels);
    *ret = list;
    return 0;
}
