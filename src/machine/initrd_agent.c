// SPDX-License-Identifier: Apache-2.0
/* The user's initial RAM disk with the agent as its /init, and with the modules that the machine's
 * devices take, where they are known: behind each other, as the kernel unpacks one archive after
 * the other. A kernel without modules is believed to have built in what it needs; the agent tells
 * if it has not. */
#include <errno.h>

#include "boot/initramfs.h"
#include "boot/modules.h"
#include "host/fd.h"
#include "host/log.h"
#include "machine_private.h"

static int want_needed(const struct config *config, struct modules *modules, const char *name)
{
    const char *option = modules_option(name);
    int err = modules_want(modules, name);

    if (err == -ENOENT)
        log_error("kernel '%s': CONFIG_%s is not set in this kernel: the agent, which runs a "
                  "COMMAND, needs '%s'",
                  config->kernel, option ? option : "?", name);
    else if (err < 0)
        (void)log_errno(err, "kernel '%s': module '%s'", config->kernel, name);
    return err < 0 ? err : 0;
}

/* Drivers of what the machine has; without these a command can do. */
static void want_useful(const struct config *config, struct modules *modules)
{
    if (config->disk_count > 0)
        (void)modules_want(modules, "virtio_blk");
    if (config->net_count > 0)
        (void)modules_want(modules, "virtio_net");
    if (config->has_rng)
        (void)modules_want(modules, "virtio-rng");
}

static int plan_modules(const struct config *config, struct modules *modules)
{
    bool by_pci = config->transport != TRANSPORT_MMIO;
    int err = want_needed(config, modules, by_pci ? "virtio_pci" : "virtio_mmio");

    /* On an Arm host it may be the other one. */
    if (config->transport == TRANSPORT_AUTO)
        (void)modules_want(modules, "virtio_mmio");
    if (!err)
        err = want_needed(config, modules, "virtio_console");
    if (!err)
        want_useful(config, modules);
    return err;
}

static int add_modules(const struct config *config, struct initramfs *initramfs)
{
    struct modules *modules = NULL;
    int err;

    if (!config->modules_folder)
        return 0;
    err = modules_open(config->modules_folder, &modules);
    if (err)
        return log_errno(err, "modules '%s'", config->modules_folder);
    err = plan_modules(config, modules);
    if (!err) {
        err = initramfs_add_modules(initramfs, modules);
        if (err)
            (void)log_errno(err, "modules '%s'", config->modules_folder);
    }
    modules_close(modules);
    return err;
}

int session_add_agent(const struct config *config, int *initrd_fd)
{
    struct initramfs *initramfs = NULL;
    int fd = -1;
    int err = initramfs_create(*initrd_fd, &initramfs);

    if (!err)
        err = initramfs_add_file(initramfs, "init", 0755, agent_image, agent_image_size);
    if (err) {
        (void)log_errno(err, "the agent in the initial RAM disk '%s'", config->initrd);
    } else {
        err = add_modules(config, initramfs);
        if (!err)
            err = initramfs_finish(initramfs, &fd);
    }
    initramfs_destroy(initramfs);
    if (err)
        return err;
    fd_close(initrd_fd);
    *initrd_fd = fd;
    return 0;
}
