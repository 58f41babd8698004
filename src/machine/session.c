// SPDX-License-Identifier: Apache-2.0
/* What the user named, opened once: it outlives the machines that a reboot of the guest replaces.
 *
 * An image stays locked, an interface keeps its addresses, a connection stays up, passt keeps its
 * flows, and the guest boots the same kernel, whatever happens to these names in the meantime. A
 * machine's devices borrow the back-ends and give them back when they are destroyed; only the
 * session closes them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "boot/initrd_auto.h"
#include "host/clock.h"
#include "host/fd.h"
#include "host/log.h"
#include "machine_private.h"
#include "root_private.h"

enum { UNPACKED_MAX = 4 }; /* kernels, which take some 40 MiB each */

/* --- disks, networks and folders --- */

int session_open_disk(const struct disk_config *disk, struct block_backend **ret)
{
    const struct block_file_params params = { .path = disk->path,
                                              .read_only = disk->read_only,
                                              .cache = disk->cache };

    return block_file_open(&params, ret);
}

/* The user's descriptor stays the user's: the back-end gets a duplicate. */
static int open_net_fd(int fd, struct net_backend **ret)
{
    char name[16];
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 3);

    if (own < 0)
        return log_errno(-errno, "network 'fd:%d'", fd);
    (void)snprintf(name, sizeof(name), "fd:%d", fd);
    return net_tap_from_fd(own, name, ret);
}

static int open_net(const struct net_config *net, struct net_backend **ret)
{
    switch (net->kind) {
    case NET_KIND_USER:
        return net_passt_start(&(struct net_passt_params){ .mtu = net->mtu }, ret);
    case NET_KIND_TAP:
        return net_tap_open(net->target, net->queue_pairs ? net->queue_pairs : 1, ret);
    case NET_KIND_FD:
        return open_net_fd(net->fd, ret);
    case NET_KIND_STREAM:
        return net_stream_connect(net->target, ret);
    }
    return -EINVAL;
}

/* No folder has anything in it of what is hidden; the host's root has nothing either of what the
 * guest's kernel has itself. The paths are the config's, the list is the caller's. */
static const char **list_hidden(const struct config *config, const struct volume_config *volume)
{
    bool is_host_root = volume->is_root && config->root == ROOT_HOST;
    size_t count = 0, own_count = 0;

    while (config->hidden && config->hidden[count])
        count++;
    while (hidden_of_root[own_count])
        own_count++;
    const char **list = calloc(count + own_count + 1, sizeof(*list));
    for (size_t i = 0; list && i < count; i++)
        list[i] = config->hidden[i];
    for (size_t i = 0; list && is_host_root && i < own_count; i++)
        list[count + i] = hidden_of_root[i];
    return list;
}

int session_open_volume(const struct config *config, const struct volume_config *volume,
                        struct fs_share **ret)
{
    AUTO_FREE const char **hidden = list_hidden(config, volume);
    const struct fs_share_params params = {
        .path = volume->path,
        .read_only = volume->read_only,
        .cache = volume->cache,
        .hidden = hidden,
        .share_count = (unsigned)config->volume_count,
    };

    return hidden ? fs_share_open(&params, ret) : log_errno(-ENOMEM, "folder '%s'", volume->path);
}

/* What the user opened for us is not for the helpers that we start. */
static void keep_descriptors(const struct config *config)
{
    for (size_t i = 0; i < config->net_count; i++) {
        if (config->nets[i].kind == NET_KIND_FD)
            (void)fcntl(config->nets[i].fd, F_SETFD, FD_CLOEXEC);
    }
    if (config->status_fd > STDERR_FILENO)
        (void)fcntl(config->status_fd, F_SETFD, FD_CLOEXEC);
}

/* --- the device tree --- */

/* Only the user may read it, as it has the seeds of the guest's random numbers. */
int session_open_dtb(const struct config *config, int *ret)
{
    int fd = -1;

    if (config->dtb_path) {
        fd = open(config->dtb_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NONBLOCK, 0600);
        if (fd < 0 && errno == ENXIO) {
            log_error("--dump-dtb=%s: nobody reads this pipe", config->dtb_path);
            return -ENXIO;
        }
        if (fd < 0)
            return log_errno(-errno, "--dump-dtb=%s", config->dtb_path);
    }
    *ret = fd;
    return 0;
}

int session_open_boot_files(const struct config *config, struct boot_files *ret)
{
    AUTO_FREE char *cmdline = config->initrd_auto ? config_cmdline(config) : NULL;
    int err = boot_files_open(config->kernel, config->initrd, ret);

    if (!err && config->command) {
        const struct file_cache unpacked = { config->unpacked_folder, ".vmlinux", UNPACKED_MAX };
        boot_files_unpack(ret, &unpacked);
        ret->initrd = config->initrd ? config->initrd : "auto";
        return session_add_agent(config, &ret->initrd_fd);
    }
    if (err || !config->initrd_auto)
        return err;
    if (!cmdline)
        return log_errno(-ENOMEM, "kernel command line");
    const struct initrd_auto params = {
        .kernel = config->kernel,
        .modules_folder = config->modules_folder,
        .cmdline = cmdline,
        .may_be_pci = config_may_be_pci(config),
        .may_be_mmio = config_may_be_mmio(config),
        .cache_folder = config->cache_folder,
    };
    err = initrd_auto_build(&params, &ret->initrd_fd);
    if (!err)
        ret->initrd = "auto";
    return err;
}

/* --- the session --- */

void session_init(struct session *session, const struct config *config)
{
    *session = (struct session){
        .config = config,
        .launch_ns = clock_now_ns(CLOCK_MONOTONIC),
        .launched_ms = clock_now_ns(CLOCK_REALTIME) / NS_PER_MS,
        .boot_files = { .kernel_fd = -1, .initrd_fd = -1, .unpacked_fd = -1 },
        .dtb_fd = -1,
    };
    for (size_t i = 0; i < CONSOLE_COUNT; i++)
        session->console_input[i] = session->console_output[i] = -1;
}

int session_open(struct session *session)
{
    const struct config *config = session->config;
    int err = session_open_consoles(session);

    keep_descriptors(config);
    for (size_t i = 0; !err && i < config->disk_count; i++)
        err = session_open_disk(&config->disks[i], &session->disks[i]);
    for (size_t i = 0; !err && i < config->net_count; i++)
        err = open_net(&config->nets[i], &session->nets[i]);
    for (size_t i = 0; !err && i < config->volume_count; i++)
        err = session_open_volume(config, &config->volumes[i], &session->shares[i]);
    if (!err)
        err = session_open_boot_files(config, &session->boot_files);
    if (!err)
        err = session_open_dtb(config, &session->dtb_fd);
    return err;
}

void session_close(struct session *session)
{
    fd_close(&session->dtb_fd);
    boot_files_close(&session->boot_files);
    for (size_t i = 0; i < CONFIG_MAX_SHARES; i++)
        fs_share_destroy(session->shares[i]);
    for (size_t i = 0; i < CONFIG_MAX_NETS; i++)
        net_backend_destroy(session->nets[i]);
    for (size_t i = 0; i < CONFIG_MAX_DISKS; i++)
        block_backend_destroy(session->disks[i]);
    session_close_consoles(session);
}
