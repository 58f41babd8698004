// SPDX-License-Identifier: Apache-2.0
/* The user's initial RAM disk, if there is one, with the agent as its /init, and with the modules
 * that the machine's devices take, where they are known: behind each other, as the kernel unpacks
 * one archive after the other. A kernel without modules is believed to have built in what it needs;
 * the agent tells if it has not. */
#include <errno.h>
#include <stdio.h>

#include "boot/file_cache.h"
#include "boot/init_programs.h"
#include "boot/initramfs.h"
#include "boot/modules.h"
#include "host/fd.h"
#include "host/log.h"
#include "machine_private.h"
#include "root_private.h"

static int want_needed(const struct config *config, struct modules *modules, const char *name,
                       const char *user)
{
    const char *option = modules_option(name);
    int err = modules_want(modules, name);

    if (err == -ENOENT)
        log_error("kernel '%s': CONFIG_%s is not set in this kernel: %s needs '%s'", config->kernel,
                  option ? option : "?", user, name);
    else if (err < 0)
        (void)log_errno(err, "kernel '%s': module '%s'", config->kernel, name);
    return err == -ENOENT ? -ENOPKG : err < 0 ? err : 0;
}

static const char agent[] = "the agent, which runs a COMMAND,";
static const char root[] = "the root of the guest";

static bool has_mounts(const struct config *config)
{
    for (size_t i = 0; i < config->volume_count; i++) {
        if (config->volumes[i].target)
            return true;
    }
    return false;
}

/* A file system's alias is the surest name, but what is built in has only its own. */
static int want_image(const struct config *config, struct modules *modules)
{
    char alias[32];
    int err = want_needed(config, modules, "virtio_blk", root);

    (void)snprintf(alias, sizeof(alias), "fs-%s", config->root_type);
    if (!err && modules_want(modules, alias) < 0)
        err = want_needed(config, modules, config->root_type, root);
    return err;
}

/* What the job (job.c) mounts. */
static int want_mounts(const struct config *config, struct modules *modules)
{
    bool has_layers = config->root != ROOT_NONE;
    int err =
        has_mounts(config) ? want_needed(config, modules, "virtiofs", "a folder of the host") : 0;

    if (!err && config->root == ROOT_IMAGE)
        err = want_image(config, modules);
    if (!err && has_layers)
        err = want_needed(config, modules, "overlay", root);
    return err;
}

/* A network that the job sets up. */
static int want_network(const struct config *config, struct modules *modules)
{
    return job_find_card(config)
               ? want_needed(config, modules, "virtio_net", "the network of the guest")
               : 0;
}

/* Drivers of what the machine has; without these a command can do. */
static void want_useful(const struct config *config, struct modules *modules)
{
    if (config->disk_count > 0)
        (void)modules_want(modules, "virtio_blk");
    if (config->net_count > 0)
        (void)modules_want(modules, "virtio_net");
    if (config->volume_count > 0)
        (void)modules_want(modules, "virtiofs");
    if (config->has_rng)
        (void)modules_want(modules, "virtio-rng");
}

/* The kernel hashes every byte of a module, as it was signed so: it takes the CPU's instructions
 * for that, if their driver is the first that it loads. */
static void want_hash(struct modules *modules)
{
    (void)modules_want(modules, "crypto-sha256");
}

static int plan_modules(const struct config *config, struct modules *modules)
{
    const char *bus = config_may_be_pci(config) ? "virtio_pci" : "virtio_mmio";

    want_hash(modules);
    int err = want_needed(config, modules, bus, agent);

    if (config_may_be_mmio(config))
        (void)modules_want(modules, "virtio_mmio");
    if (!err)
        err = want_needed(config, modules, "virtio_console", agent);
    if (!err)
        err = want_mounts(config, modules);
    if (!err)
        err = want_network(config, modules);
    if (!err)
        want_useful(config, modules);
    return err;
}

/* --- the archive --- */

/* What it is made of. */
struct parts {
    const struct config *config;
    const struct modules *modules; /* NULL: none are known */
    int base;                      /* the user's; -1: none */
};

static int write_archive(const struct parts *parts, struct initramfs *initramfs)
{
    const char *initrd = parts->config->initrd ? parts->config->initrd : "auto";
    int err = initramfs_add_file(initramfs, "init", 0755, agent_bytes, agent_len);

    if (err)
        return log_errno(err, "the agent in the initial RAM disk '%s'", initrd);
    if (parts->modules)
        err = initramfs_add_modules(initramfs, parts->modules);
    return err ? log_errno(err, "modules '%s'", parts->config->modules_folder) : 0;
}

static int build(void *ctx, int *ret)
{
    const struct parts *parts = ctx;
    struct initramfs *initramfs = NULL;
    int err = initramfs_create(parts->base, &initramfs);

    if (err)
        (void)log_errno(err, "the initial RAM disk '%s'",
                        parts->config->initrd ? parts->config->initrd : "auto");
    else
        err = write_archive(parts, initramfs);
    if (!err) {
        err = initramfs_finish(initramfs, ret);
        if (err)
            (void)log_errno(err, "the initial RAM disk");
    }
    initramfs_destroy(initramfs);
    return err;
}

/* With an initial RAM disk of the user's it is made each time. */
static int find_or_build(struct parts *parts, int *ret)
{
    uint64_t key = file_cache_key(0, HUTCH_VERSION, sizeof(HUTCH_VERSION));
    bool is_worth_keeping = parts->base < 0 && parts->modules;

    key = file_cache_key(key, agent_bytes, agent_len);
    if (is_worth_keeping)
        is_worth_keeping = modules_identify(parts->modules, &key);
    const struct file_cache cache =
        initramfs_cache(is_worth_keeping ? parts->config->cache_folder : NULL);

    return file_cache_get(&cache, key, build, parts, ret);
}

static int open_modules(const struct config *config, struct modules **ret)
{
    int err;

    if (!config->modules_folder)
        return 0;
    err = modules_open(config->modules_folder, ret);
    return err ? log_errno(err, "modules '%s'", config->modules_folder)
               : plan_modules(config, *ret);
}

int session_add_agent(const struct config *config, int *initrd_fd)
{
    struct modules *modules = NULL;
    int fd = -1;
    int err = open_modules(config, &modules);

    if (!err)
        err = find_or_build(&(struct parts){ config, modules, *initrd_fd }, &fd);
    modules_close(modules);
    if (err)
        return err;
    fd_close(initrd_fd);
    *initrd_fd = fd;
    return 0;
}
