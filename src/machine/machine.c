// SPDX-License-Identifier: Apache-2.0
/* Builds the machine, runs it, and builds it anew when the guest reboots.
 *
 * Everything is made in one order and destroyed in the opposite one, whether or not the building
 * came to its end. A reboot is a new machine from the same configuration: nothing of the guest's
 * past can leak into it. What the user named is opened before that, by the session, and lent. */
#include "machine/machine.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "host/clock.h"
#include "host/fd.h"
#include "host/log.h"
#include "machine/status.h"
#include "machine_private.h"

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
        err = machine_add_devices(machine);
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
            status_tell(config->status_fd, clock_since_ns(session.launch_ns) / NS_PER_MS, event,
                        NULL, NULL);
            event = "rebooting";
            run_once(&session, ret);
            again = ret->kind == OUTCOME_REBOOT && config->on_reboot == ON_REBOOT_RESET;
        } while (again);
    }
    session_close(&session);
    ret->launched_ms = session.launched_ms;
    ret->duration_ms = clock_since_ns(session.launch_ns) / NS_PER_MS;
}
