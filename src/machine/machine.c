// SPDX-License-Identifier: Apache-2.0
/* Builds the machine: the one file that knows every device.
 *
 * Everything is made in one order and destroyed in the opposite one, whether or not the building
 * came to its end. A reboot is a new machine from the same configuration: nothing of the guest's
 * past can leak into it. What the user named is opened before that, by the session, and lent. */
#include "machine/machine.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/fd.h"
#include "host/log.h"
#include "machine/status.h"
#include "machine_private.h"
#include "mem/layout.h"
#include "virtio/blk.h"
#include "virtio/fs.h"
#include "virtio/net.h"
#include "virtio/rng.h"
#include "virtio/transport.h"

int machine_own(struct machine *machine, struct device *dev)
{
    if (machine->device_count == MACHINE_MAX_DEVICES) {
        device_destroy(dev);
        return -ENOSPC;
    }
    machine->devices[machine->device_count++] = dev;
    return 0;
}

int machine_place_chip(struct machine *machine, struct bus *bus, int err,
                       struct device *const *chip, uint64_t address, uint64_t size)
{
    if (!err)
        err = machine_own(machine, *chip);
    return err ? err : bus_add(bus, address, size, *chip, 0);
}

/* --- virtio devices, by either transport --- */

static int place_on_pci(struct machine *machine, struct virtio_dev *vdev)
{
    unsigned slot = machine->next_slot;
    struct msi_block *msi = calloc(1, sizeof(*msi));
    struct pci_function *fn;

    if (!msi) {
        virtio_dev_destroy(vdev);
        return -ENOMEM;
    }
    machine->msi[slot] = msi;
    struct virtio_pci_params params = {
        .vdev = vdev,
        .msi = machine_msi_port(msi, machine->vm, slot),
        .intx = machine_wire_tap(&machine->intx_taps[slot], &machine->intx[slot % INTX_COUNT]),
        .doorbells = machine_doorbells(machine->vm),
    };
    int err = virtio_pci_create(&params, &fn);
    if (!err)
        err = machine_own(machine, &fn->dev);
    if (!err)
        err = pci_host_add(machine->pci, slot, fn);
    return err;
}

static int place_on_mmio(struct machine *machine, struct virtio_dev *vdev)
{
    unsigned slot = machine->next_slot - 1, gsi = layout_virtio_mmio_gsi(slot);
    struct virtio_mmio_params params = {
        .vdev = vdev,
        .irq = machine_pin(&machine->pins[gsi], machine->vm, gsi),
        .doorbells = machine_doorbells(machine->vm),
        .address = layout_virtio_mmio_base(slot),
    };
    struct device *dev;
    int err = virtio_mmio_create(&params, &dev);

    if (!err)
        err = machine_own(machine, dev);
    if (!err)
        err = bus_add(machine->memory, params.address, LAYOUT_VIRTIO_MMIO_SIZE, dev, 0);
    return err;
}

int machine_place_virtio(struct machine *machine, struct virtio_dev *vdev)
{
    bool is_pci = machine->board.has_pci;

    /* config_check_device_count() saw to it. */
    assert(machine->next_slot <= (is_pci ? PCI_SLOT_COUNT - 1 : LAYOUT_VIRTIO_MMIO_MAX));
    int err = is_pci ? place_on_pci(machine, vdev) : place_on_mmio(machine, vdev);
    if (!err)
        board_add_virtio(&machine->board, machine->next_slot);
    machine->next_slot++;
    return err;
}

/* --- the devices --- */

void machine_end_by_reset(struct machine *machine, bool is_warm)
{
    bool is_panic =
        config_marks_panics(machine->config) && platform_reset_is_panic(machine, is_warm);

    machine_end(machine, is_panic ? OUTCOME_PANIC : OUTCOME_REBOOT, 0);
}

static void on_power_event(void *ctx, enum power_event event, uint32_t value)
{
    struct machine *machine = ctx;

    switch (event) {
    case POWER_OFF:
        machine_end(machine, OUTCOME_POWEROFF, 0);
        break;
    case POWER_RESET:
        machine_end_by_reset(machine, false);
        break;
    case POWER_DEBUG_EXIT:
        machine_end(machine, OUTCOME_DEBUG_EXIT, value);
        break;
    case POWER_PANIC:
        if (machine->config->on_panic == ON_PANIC_EXIT)
            machine_end(machine, OUTCOME_PANIC, 0);
        else if (!atomic_exchange(&machine->has_panicked, true))
            log_error("the guest's kernel panicked; its machine is held");
        break;
    case POWER_CRASH_LOAD:
        log_debug("the guest's kernel panicked and starts its crash kernel");
        break;
    }
}

struct power_port machine_power_port(struct machine *machine)
{
    return (struct power_port){ .request = on_power_event, .ctx = machine };
}

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

static int add_disk(struct machine *machine, size_t index)
{
    const struct disk_config *disk = &machine->config->disks[index];
    const unsigned default_max_queues = 4;
    unsigned cpus = machine->config->cpu_count;
    struct blk_params params = {
        .mem = machine->mem,
        .loop = machine->loop,
        .backend = machine->session->disks[index],
        .queue_count = disk->queue_count           ? disk->queue_count
                       : cpus < default_max_queues ? cpus
                                                   : default_max_queues,
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
    const unsigned default_max_queues = 4;
    unsigned cpus = machine->config->cpu_count;
    struct fs_params params = {
        .mem = machine->mem,
        .share = machine->session->shares[index],
        .tag = volume->tag,
        .queue_count = cpus < default_max_queues ? cpus : default_max_queues,
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

/* --- the machine --- */

static int build_core(struct machine *machine)
{
    const struct config *config = machine->config;
    int err = loop_create(&machine->loop);

    if (!err)
        err = bus_create(&machine->ports);
    if (!err)
        err = bus_create(&machine->memory);
    if (err)
        return log_errno(err, "the machine");
    err = machine_make_memory(config, &machine->mem);
    if (err)
        return err;
    err = vm_create(NULL, config->cpu_count, guest_mem_end(machine->mem), &machine->vm);
    if (err)
        return err;
    for (unsigned i = 0; i < INTX_COUNT; i++)
        machine->intx[i].vm = machine->vm;
    err = vm_map_memory(machine->vm, machine->mem);
    if (err)
        return log_errno(err, "KVM: giving the guest its memory");
    err = board_init(&machine->board, config, machine->vm);
    return err ? err : config_check_device_count(config, machine->board.has_pci);
}

static int build_devices(struct machine *machine)
{
    for (size_t i = 0; i < sizeof(add_devices) / sizeof(add_devices[0]); i++) {
        int err = add_devices[i](machine);
        if (err)
            return err;
    }
    return 0;
}

static int build_vcpus(struct machine *machine)
{
    struct cpu_model model = {
        .count = machine->config->cpu_count,
        .masked_features = (const char *const *)machine->config->masked_features,
    };

    machine->vcpus = calloc(model.count, sizeof(*machine->vcpus));
    if (!machine->vcpus)
        return log_errno(-ENOMEM, "%u vCPUs", model.count);
    for (; machine->vcpu_count < model.count; machine->vcpu_count++) {
        struct vcpu_thread *thread = &machine->vcpus[machine->vcpu_count];
        int err = vcpu_create(machine->vm, machine->vcpu_count, &model, &thread->vcpu);

        if (err)
            return err;
        thread->machine = machine;
    }
    for (unsigned i = 0; i < machine->vcpu_count; i++) {
        int err = vcpu_complete(machine->vcpus[i].vcpu);

        if (err)
            return err;
    }
    return 0;
}

int board_init(struct board *board, const struct config *config, const struct vm *vm)
{
    const struct cpu_model model = {
        .count = config->cpu_count,
        .masked_features = (const char *const *)config->masked_features,
    };

    *board = (struct board){
        .ram_size = config->memory_size,
        .has_pci = config->transport == TRANSPORT_PCI ||
                   (config->transport == TRANSPORT_AUTO && (!vm || vm_has_msi(vm))),
        .pci_slot_count = 1,
        .ecam_base = LAYOUT_ECAM_BASE,
        .pci32_base = LAYOUT_PCI32_BASE,
        .pci32_size = LAYOUT_PCI32_SIZE,
        .intx_gsi = LAYOUT_GSI_PCI_INTX,
        .cpu_ids = calloc(config->cpu_count, sizeof(*board->cpu_ids)),
    };
    if (!board->cpu_ids)
        return log_errno(-ENOMEM, "a list of %u CPUs", config->cpu_count);
    for (; board->cpu_count < config->cpu_count; board->cpu_count++)
        board->cpu_ids[board->cpu_count] = cpu_hardware_id(&model, board->cpu_count);
    board_place_chips(board, vm);
    board->has_pmu = vm && cpu_has_pmu(vm, &model);
    return 0;
}

void board_fini(struct board *board)
{
    free(board->cpu_ids);
    board->cpu_ids = NULL;
}

void board_add_virtio(struct board *board, unsigned slot)
{
    if (board->has_pci) {
        board->pci_slot_count = slot + 1;
    } else {
        board->virtio_mmio[board->virtio_mmio_count++] = (struct board_virtio_mmio){
            .base = layout_virtio_mmio_base(slot - 1),
            .size = LAYOUT_VIRTIO_MMIO_SIZE,
            .gsi = layout_virtio_mmio_gsi(slot - 1),
        };
    }
}

void board_foresee_devices(struct board *board, const struct config *config)
{
    for (unsigned i = 0; i < config_device_count(config); i++)
        board_add_virtio(board, i + 1);
}

int machine_load_kernel(const struct config *config, const struct boot_files *files,
                        const struct board *board, int dtb_fd, struct guest_mem *mem,
                        struct cpu_entry *ret)
{
    AUTO_FREE char *cmdline = config_cmdline(config);
    struct boot_config boot = {
        .files = files,
        .cmdline = cmdline,
        .board = board,
        .has_fdt = config->dtb == DTB_ON,
        .fdt_fd = dtb_fd,
    };

    return cmdline ? boot_load(mem, &boot, ret) : log_errno(-ENOMEM, "kernel command line");
}

static int load_kernel(struct machine *machine)
{
    struct session *session = machine->session;
    struct cpu_entry entry;

    machine->board.page_sizes = vcpu_page_sizes(machine->vcpus[0].vcpu);
    int err = machine_load_kernel(machine->config, &session->boot_files, &machine->board,
                                  session->dtb_fd, machine->mem, &entry);

    fd_close(&session->dtb_fd);
    if (!err)
        err = vcpu_set_entry(machine->vcpus[0].vcpu, machine->mem, &entry);
    return err;
}

static int machine_build(struct machine *machine)
{
    int err = build_core(machine);

    if (!err)
        err = build_devices(machine);
    if (!err)
        err = build_vcpus(machine);
    if (!err)
        err = platform_write_tables(machine);
    if (!err)
        err = load_kernel(machine);
    return err;
}

static void machine_destroy(struct machine *machine)
{
    if (!machine)
        return;
    machine_stop_command(machine);
    machine_stop_consoles(machine);
    while (machine->device_count > 0)
        device_destroy(machine->devices[--machine->device_count]);
    pci_host_destroy(machine->pci);
    for (unsigned i = 0; machine->vcpus && i < machine->config->cpu_count; i++)
        vcpu_destroy(machine->vcpus[i].vcpu);
    free(machine->vcpus);
    for (unsigned i = 0; i < PCI_SLOT_COUNT; i++)
        free(machine->msi[i]);
    vm_destroy(machine->vm);
    guest_mem_destroy(machine->mem);
    board_fini(&machine->board);
    bus_destroy(machine->memory);
    bus_destroy(machine->ports);
    loop_destroy(machine->loop);
    for (unsigned i = 0; i < INTX_COUNT; i++)
        pthread_mutex_destroy(&machine->intx[i].lock);
    pthread_mutex_destroy(&machine->end_lock);
    free(machine);
}

static struct machine *machine_alloc(struct session *session)
{
    struct machine *machine = calloc(1, sizeof(*machine));

    if (!machine)
        return NULL;
    machine->session = session;
    machine->config = session->config;
    machine->next_slot = 1; /* slot 0 of the PCI bus is the bridge */
    machine->signal_fd = -1;
    pthread_mutex_init(&machine->end_lock, NULL);
    for (unsigned i = 0; i < INTX_COUNT; i++)
        pthread_mutex_init(&machine->intx[i].lock, NULL);
    return machine;
}

/* One life of the machine, from power-on to however it ends. */
static void run_once(struct session *session, struct outcome *ret)
{
    struct machine *machine = machine_alloc(session);

    *ret = (struct outcome){ .kind = OUTCOME_TOOL_ERROR };
    if (!machine) {
        (void)log_errno(-ENOMEM, "the machine");
    } else if (machine_build(machine) == 0) {
        machine_run_to_end(machine);
        machine_judge_command(machine);
        *ret = machine->outcome;
    }
    machine_destroy(machine);
}

/* A reader that is gone and a file at its size limit are failures of a write to us, not our end. */
static void ignore_signals_of_writes(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN);
}

void machine_run(const struct config *config, struct outcome *ret)
{
    struct session session;
    bool again;

    session_init(&session, config);
    *ret = (struct outcome){ .kind = OUTCOME_TOOL_ERROR };
    ignore_signals_of_writes();
    vcpu_setup_kick_signal();
    int err = session_open(&session);
    if (err == -ETIME)
        ret->kind = OUTCOME_TIMEOUT;
    if (err == -ENOPKG) /* the kernel lacks what this machine needs */
        ret->kind = OUTCOME_BOOT_FAILURE;
    if (!err) {
        const char *event = "starting";

        do {
            status_tell(config->status_fd, session_age_ns(&session) / 1000000, event, NULL, NULL);
            event = "rebooting";
            run_once(&session, ret);
            again = ret->kind == OUTCOME_REBOOT && config->on_reboot == ON_REBOOT_RESET;
        } while (again);
    }
    session_close(&session);
    ret->launched_ms = session.launched_ms;
    ret->duration_ms = session_age_ns(&session) / 1000000;
}
