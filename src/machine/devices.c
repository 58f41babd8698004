// SPDX-License-Identifier: Apache-2.0
/* The machine's devices: the one file that knows every kind. What they serve was opened before by
 * the session, and is lent to them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "host/fd.h"
#include "host/log.h"
#include "machine_private.h"
#include "mem/layout.h"
#include "virtio/blk.h"
#include "virtio/fs.h"
#include "virtio/net.h"
#include "virtio/rng.h"

enum { USUAL_QUEUES_MAX = 4 };

static int add_pci_host(struct machine *machine)
{
    struct pci_host_params params = { .memory_bus = machine->memory,
                                      .port_bus = machine->ports,
                                      .ecam_base = LAYOUT_ECAM_BASE,
                                      .config_port = LAYOUT_PORT_PCI_CONFIG,
                                      .window32_base = LAYOUT_PCI32_BASE,
                                      .window32_size = LAYOUT_PCI32_SIZE };

    if (!machine->board.has_pci)
        return 0;
    for (unsigned i = 0; i < INTX_COUNT; i++)
        machine->intx[i].gsi = LAYOUT_GSI_PCI_INTX + i;
    int err = pci_host_create(&params, &machine->pci);
    return err ? log_errno(err, "PCI bus") : 0;
}

/* What GET_ID answers: the user's word, or the last part of the file's name. */
static void choose_disk_serial(const struct disk_config *disk, char serial[BLK_SERIAL_LEN])
{
    const char *slash = strrchr(disk->path, '/');
    const char *text = disk->serial ? disk->serial : slash ? slash + 1 : disk->path;

    memset(serial, 0, BLK_SERIAL_LEN);
    memcpy(serial, text, strnlen(text, BLK_SERIAL_LEN));
}

/* One for each CPU, so that none waits for another, up to a few, as each costs memory. */
static unsigned usual_queue_count(const struct machine *machine)
{
    unsigned cpus = machine->config->cpu_count;

    return cpus < USUAL_QUEUES_MAX ? cpus : USUAL_QUEUES_MAX;
}

static int add_disk(struct machine *machine, size_t index)
{
    const struct disk_config *disk = &machine->config->disks[index];
    struct blk_params params = {
        .mem = machine->mem,
        .loop = machine->loop,
        .backend = machine->session->disks[index],
        .queue_count = disk->queue_count ? disk->queue_count : usual_queue_count(machine),
    };
    struct virtio_dev *vdev;
    AUTO_FREE char *name = NULL;

    if (asprintf(&name, "disk '%s'", disk->path) < 0)
        return log_errno(-ENOMEM, "disk '%s'", disk->path);
    params.name = name;
    choose_disk_serial(disk, params.serial);
    int err = blk_create(&params, &vdev);

    if (!err)
        err = machine_place_virtio(machine, vdev);
    return err ? log_errno(err, "%s", name) : 0;
}

static int add_disks(struct machine *machine)
{
    int err = 0;

    for (size_t i = 0; !err && i < machine->config->disk_count; i++)
        err = add_disk(machine, i);
    return err;
}

static int add_net(struct machine *machine, size_t index)
{
    const struct net_config *net = &machine->config->nets[index];
    struct net_params params = { .mem = machine->mem,
                                 .loop = machine->loop,
                                 .backend = machine->session->nets[index],
                                 .mtu = net->mtu };
    struct virtio_dev *vdev;
    AUTO_FREE char *name = NULL;

    int len = net->kind == NET_KIND_FD
                  ? asprintf(&name, "network 'fd:%d'", net->fd)
                  : asprintf(&name, "network '%s'", net->target ? net->target : "user");
    if (len < 0)
        return log_errno(-ENOMEM, "network");
    params.name = name;
    memcpy(params.mac, net->mac, sizeof(params.mac));
    int err = net_create(&params, &vdev);

    if (!err)
        err = machine_place_virtio(machine, vdev);
    return err ? log_errno(err, "%s", name) : 0;
}

static int add_nets(struct machine *machine)
{
    int err = 0;

    for (size_t i = 0; !err && i < machine->config->net_count; i++)
        err = add_net(machine, i);
    return err;
}

static int add_volume(struct machine *machine, size_t index)
{
    const struct volume_config *volume = &machine->config->volumes[index];
    struct fs_params params = {
        .mem = machine->mem,
        .share = machine->session->shares[index],
        .tag = volume->tag,
        .queue_count = usual_queue_count(machine),
    };
    struct virtio_dev *vdev;
    AUTO_FREE char *name = NULL;

    if (asprintf(&name, "volume '%s'", volume->path) < 0)
        return log_errno(-ENOMEM, "volume '%s'", volume->path);
    params.name = name;
    int err = fs_create(&params, &vdev);

    if (!err)
        err = machine_place_virtio(machine, vdev);
    return err ? log_errno(err, "%s", name) : 0;
}

static int add_volumes(struct machine *machine)
{
    int err = 0;

    for (size_t i = 0; !err && i < machine->config->volume_count; i++)
        err = add_volume(machine, i);
    return err;
}

static int add_rng(struct machine *machine)
{
    struct virtio_dev *vdev;
    int err;

    if (!machine->config->has_rng)
        return 0;
    err = rng_create(machine->mem, machine->loop, &vdev);
    if (!err)
        err = machine_place_virtio(machine, vdev);
    return err ? log_errno(err, "rng") : 0;
}

/* Every kind of device, in the order it is built and numbered; each says why it failed. Disks come
 * before cards, so that a root disk is the first function on the bus whatever else there is. */
static int (*const add_devices[])(struct machine *) = {
    platform_add_chips, add_pci_host, add_serial,  add_disks,   add_nets,
    add_volumes,        add_rng,      add_console, add_command,
};

int machine_add_devices(struct machine *machine)
{
    for (size_t i = 0; i < sizeof(add_devices) / sizeof(add_devices[0]); i++) {
        int err = add_devices[i](machine);
        if (err)
            return err;
    }
    return 0;
}
