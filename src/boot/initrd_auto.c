// SPDX-License-Identifier: Apache-2.0
/* Plans the drivers first, then the kinds of file systems, one by one; guests/init/disk_init.c says
 * what is written where. Of the usual kinds those count that this kernel has; of those that the
 * user names with rootfstype=, all must be there. */
#include "boot/initrd_auto.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "boot/file_cache.h"
#include "boot/init_programs.h"
#include "boot/initramfs.h"
#include "boot/modules.h"
#include "host/fd.h"
#include "host/log.h"

enum { KIND_LEN = 32 };

/* The value of the last @key of the kernel command line ("root="); NULL if it has none. Words
 * behind "--" are init's. */
static const char *find_value(const char *cmdline, const char *key, size_t *len)
{
    const char *found = NULL;

    for (const char *at = cmdline; *at; at += strcspn(at, " \n")) {
        at += strspn(at, " \n");
        if (!strncmp(at, "-- ", 3))
            break;
        if (!strncmp(at, key, strlen(key))) {
            found = at + strlen(key);
            *len = strcspn(found, " \n");
        }
    }
    return found;
}

static int check_root(const struct initrd_auto *in)
{
    size_t len;
    const char *root = find_value(in->cmdline, "root=", &len);

    if (!root) {
        log_error("initrd 'auto': it leads to the root file system, which the kernel command line "
                  "does not name; say -a root=/dev/vda");
        return -EINVAL;
    }
    if (strncmp(root, "/dev/", 5)) {
        log_error("initrd 'auto': it finds the root file system by a disk's name alone, as in "
                  "root=/dev/vda or root=/dev/vda1, not by root=%.*s",
                  (int)(len < 200 ? len : 200), root);
        return -EINVAL;
    }
    return 0;
}

static int refuse_missing(const struct initrd_auto *in, const char *name, int err)
{
    const char *option = modules_option(name);

    if (err != -ENOENT)
        return log_errno(err, "kernel '%s': module '%s' in '%s'", in->kernel, name,
                         in->modules_folder);
    log_error("kernel '%s': %s%s%s: there is no module '%s' in '%s'", in->kernel,
              option ? "CONFIG_" : "", option ? option : "it lacks a driver",
              option ? " is not set in this kernel" : "", name, in->modules_folder);
    return err;
}

static int plan_drivers(const struct initrd_auto *in, struct modules *modules)
{
    const char *const needed[] = { in->may_be_pci ? "virtio_pci" : "virtio_mmio", "virtio_blk" };

    if (in->may_be_mmio)
        (void)modules_want(modules, "virtio_mmio");
    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        int err = modules_want(modules, needed[i]);
        if (err < 0)
            return refuse_missing(in, needed[i], err);
    }
    (void)modules_want(modules, "virtio_console"); /* it is of use, but not needed */
    return 0;
}

static void write_stage(FILE *out, const char *kind, const struct modules *modules)
{
    const char *const *plan;

    (void)fprintf(out, "%s %zu\n", kind, modules_plan(modules, &plan));
}

/* A file system's alias is the surest name, but what is built in has only its own. */
static int plan_kind(struct modules *modules, const char *kind, FILE *out)
{
    char alias[KIND_LEN + 4];
    (void)snprintf(alias, sizeof(alias), "fs-%s", kind);

    int err = modules_want(modules, alias);
    if (err == -ENOENT)
        err = modules_want(modules, kind);
    if (err >= 0)
        write_stage(out, kind, modules);
    return err;
}

static int plan_usual_kinds(const struct initrd_auto *in, struct modules *modules, FILE *out)
{
    static const char *const kinds[] = { "ext4", "xfs", "btrfs", "f2fs", "erofs", "squashfs" };
    int found = 0;

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        found += plan_kind(modules, kinds[i], out) >= 0;
    if (found)
        return 0;
    log_error("kernel '%s': none of the usual file systems is there, neither built in nor in '%s'; "
              "name the root's with -a rootfstype=",
              in->kernel, in->modules_folder);
    return -ENOENT;
}

/* "ext4,xfs", as the kernel takes it. */
static int plan_named_kinds(const struct initrd_auto *in, struct modules *modules,
                            const char *kinds, size_t len, FILE *out)
{
    for (size_t at = 0; at < len;) {
        size_t kind_len = strcspn(kinds + at, ", \n");
        char kind[KIND_LEN];
        if (kind_len >= sizeof(kind)) {
            log_error("rootfstype=%.*s: no file system is called so", (int)sizeof(kind),
                      kinds + at);
            return -EINVAL;
        }
        memcpy(kind, kinds + at, kind_len);
        kind[kind_len] = '\0';
        int err = kind_len ? plan_kind(modules, kind, out) : 0;
        if (err < 0)
            return refuse_missing(in, kind, err);
        at += kind_len + 1;
    }
    return 0;
}

static int plan_all(const struct initrd_auto *in, struct modules *modules, FILE *out)
{
    size_t len;
    const char *kinds = find_value(in->cmdline, "rootfstype=", &len);
    int err = plan_drivers(in, modules);

    if (err)
        return err;
    write_stage(out, "-", modules);
    return kinds && len ? plan_named_kinds(in, modules, kinds, len, out)
                        : plan_usual_kinds(in, modules, out);
}

/* Everything but the modules' plan, whose stages are in @stages. */
static int write_archive(const struct modules *modules, const char *stages, size_t stages_len,
                         struct initramfs *initramfs)
{
    int err = initramfs_add_console(initramfs);

    if (!err)
        err = initramfs_add_folder(initramfs, "proc", 0755);
    if (!err)
        err = initramfs_add_folder(initramfs, "root", 0700);
    if (!err)
        err = initramfs_add_file(initramfs, "init", 0755, disk_init_bytes, disk_init_len);
    if (!err)
        err = initramfs_add_modules(initramfs, modules);
    if (!err)
        err = initramfs_add_file(initramfs, "modules/filesystems", 0600, stages, stages_len);
    return err;
}

/* What an archive is made of. */
struct parts {
    const struct initrd_auto *in;
    const struct modules *modules;
    const char *stages;
    size_t stages_len;
};

static int build(void *ctx, int *ret)
{
    const struct parts *parts = ctx;
    struct initramfs *initramfs = NULL;
    int err = initramfs_create(-1, &initramfs);

    if (!err)
        err = write_archive(parts->modules, parts->stages, parts->stages_len, initramfs);
    if (!err)
        err = initramfs_finish(initramfs, ret);
    initramfs_destroy(initramfs);
    if (err == -ENODATA || err == -EBADMSG) {
        log_error("initrd 'auto': a module in '%s' is cut off or damaged; install them anew",
                  parts->in->modules_folder);
        return err;
    }
    return err ? log_errno(err, "initrd 'auto': modules in '%s'", parts->in->modules_folder) : 0;
}

static int find_or_build(struct parts *parts, int *ret)
{
    uint64_t key = file_cache_key(0, HUTCH_VERSION, sizeof(HUTCH_VERSION));

    key = file_cache_key(key, disk_init_bytes, disk_init_len);
    key = file_cache_key(key, parts->stages, parts->stages_len);
    bool is_worth_keeping = modules_identify(parts->modules, &key);
    const struct file_cache cache =
        initramfs_cache(is_worth_keeping ? parts->in->cache_folder : NULL);

    return file_cache_get(&cache, key, build, parts, ret);
}

static int plan_and_build(const struct initrd_auto *in, struct modules *modules, int *ret)
{
    AUTO_FREE char *stages = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&stages, &len);

    if (!out)
        return log_errno(-ENOMEM, "initrd 'auto'");
    int err = plan_all(in, modules, out);
    if (fclose(out) && !err)
        err = log_errno(-ENOMEM, "initrd 'auto'");
    return err ? err : find_or_build(&(struct parts){ in, modules, stages, len }, ret);
}

int initrd_auto_build(const struct initrd_auto *in, int *ret)
{
    struct modules *modules;
    int err = check_root(in);

    if (err)
        return err;
    err = modules_open(in->modules_folder, &modules);
    if (err)
        return log_errno(err, "modules '%s'", in->modules_folder);
    err = plan_and_build(in, modules, ret);
    modules_close(modules);
    return err;
}
