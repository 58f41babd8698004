// SPDX-License-Identifier: Apache-2.0
/* Looks for modules near the image first, so that those of a kernel in the cache, or in a tree of
 * its own, are found before what the host has installed under the same release:
 *
 *   FOLDER                             of the image: /usr/lib/modules/RELEASE/vmlinuz
 *   FOLDER/../lib/modules/RELEASE      a package that was unpacked: boot/vmlinuz-RELEASE beside it
 *   FOLDER/../usr/lib/modules/RELEASE
 *   TREE/lib/modules/RELEASE           of TREE/arch/x86/boot/bzImage, after `make modules_install
 *                                      INSTALL_MOD_PATH=.` there; or wherever INSTALL_MOD_PATH is
 *   TREE                               itself, with its modules where they were built
 *   /lib/modules/RELEASE, /usr/lib/modules/RELEASE */
#include "kernel_modules.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/fd.h"
#include "host/log.h"
#include "kernel_config.h"

static bool has_file(const char *folder, const char *name)
{
    char path[PATH_MAX];

    return snprintf(path, sizeof(path), "%s/%s", folder, name) < (int)sizeof(path) &&
           !access(path, R_OK);
}

static bool has_modules(const char *folder)
{
    return has_file(folder, "modules.dep") ||
           (has_file(folder, "modules.order") && has_file(folder, ".config"));
}

/* Tries BASE/MIDDLE/RELEASE (or BASE itself, without the others). */
static bool try_folder(const char *base, const char *middle, const char *release, char **ret)
{
    char path[PATH_MAX];
    int len = snprintf(path, sizeof(path), "%s%s%s", base, middle, release);

    if (len >= (int)sizeof(path) || !has_modules(path))
        return false;
    *ret = realpath(path, NULL);
    return *ret;
}

static bool try_all(const char *folder, const char *release, char **ret)
{
    const char *installed = getenv("INSTALL_MOD_PATH");

    return try_folder(folder, "", "", ret) ||
           try_folder(folder, "/../lib/modules/", release, ret) ||
           try_folder(folder, "/../usr/lib/modules/", release, ret) ||
           try_folder(folder, "/../../../lib/modules/", release, ret) ||
           (installed && *installed && try_folder(installed, "/lib/modules/", release, ret)) ||
           try_folder(folder, "/../../..", "", ret) ||
           try_folder("", "/lib/modules/", release, ret) ||
           try_folder("", "/usr/lib/modules/", release, ret);
}

int kernel_modules_look(const char *path, const char *release, char **ret)
{
    AUTO_FREE char *real = realpath(path, NULL);

    if (!real)
        return -errno;
    return try_all(dirname(real), release, ret) ? 0 : -ENOENT;
}

int kernel_modules_find(const char *path, char **ret)
{
    char release[KERNEL_RELEASE_LEN];

    int err = kernel_release_read(path, release);
    if (err == -ENOENT)
        log_error("kernel '%s': it does not tell its release, by which its modules are found",
                  path);
    else if (err)
        (void)log_errno(err, "kernel '%s'", path);
    if (err)
        return err;
    err = kernel_modules_look(path, release, ret);
    if (err != -ENOENT)
        return err ? log_errno(err, "kernel '%s'", path) : 0;
    log_error("kernel '%s': no modules of release %s: neither beside it nor in /lib/modules/%s is "
              "there a modules.dep; build them (`make modules`), or take a kernel of "
              "`hutch kernel pull`",
              path, release, release);
    return -ENOENT;
}
