// SPDX-License-Identifier: Apache-2.0
/* struct session and struct machine, for the files that open the one, build the other from parts,
 * run it and end it; by file. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "boot/board.h"
#include "boot/boot.h"
#include "cpu/vcpu.h"
#include "cpu/vm.h"
#include "devices/bus.h"
#include "devices/irq.h"
#include "devices/pci/msix.h"
#include "devices/pci/pci.h"
#include "escape.h"
#include "host/loop.h"
#include "host/stream.h"
#include "machine/agent.h"
#include "machine/config.h"
#include "machine/machine.h"
#include "machine/outcome.h"
#include "mem/guest_mem.h"
#include "mem/layout.h"
#include "tail.h"
#include "virtio/block_backend.h"
#include "virtio/fs_share.h"
#include "virtio/net_backend.h"
#include "virtio/virtio_dev.h"

enum { MACHINE_MAX_DEVICES = 48, INTX_COUNT = 4, CONSOLE_COUNT = 2 };

/* --- session.c: what outlives a reboot of the guest, which builds a new machine --- */

struct session {
    const struct config *config;
    uint64_t launch_ns;                   /* CLOCK_MONOTONIC */
    uint64_t launched_ms;                 /* the same in CLOCK_REALTIME */
    int console_input[CONSOLE_COUNT];     /* descriptors, or -1; by enum console_index */
    int console_output[CONSOLE_COUNT];    /* a terminal's are not ours to close */
    bool closes_console[CONSOLE_COUNT];   /* a file's are */
    bool escape_is_active[CONSOLE_COUNT]; /* its input is a terminal with an escape key */
    /* Owned, and lent to the devices of one machine after the other; by index in the config. */
    struct block_backend *disks[CONFIG_MAX_DISKS];
    struct net_backend *nets[CONFIG_MAX_NETS];
    struct fs_share *shares[CONFIG_MAX_SHARES];
    struct boot_files boot_files;
    int dtb_fd; /* gets a copy of the device tree, once; -1: nobody does */
};

/* An empty one, whose age counts from here. @config must outlive it. */
void session_init(struct session *session, const struct config *config);
/* Opens all that the user named. Logs what is wrong. Returns 0, -ETIME if --timeout was over before
 * that, or -errno; session_close() is due in any case. */
int session_open(struct session *session);
/* After the last machine. */
void session_close(struct session *session);

/* Opens a disk as every machine has it. Logs what is wrong. Returns 0 or -errno. */
int session_open_disk(const struct disk_config *disk, struct block_backend **ret);
/* The same of a folder, one of those in @config. */
int session_open_volume(const struct config *config, const struct volume_config *volume,
                        struct fs_share **ret);
/* Opens what gets a copy of the device tree; -1: nothing. Logs. */
int session_open_dtb(const struct config *config, int *ret);
/* Opens kernel and initrd, or makes the initrd. Logs. The caller closes them, also after a failure.
 */
int session_open_boot_files(const struct config *config, struct boot_files *ret);

/* Replaces the user's initial RAM disk, if there is one (else *@initrd_fd is -1), by one that has
 * the agent as well. Logs. Returns 0, -ENOPKG if the kernel lacks a driver, or -errno. In
 * initrd_agent.c. */
int session_add_agent(const struct config *config, int *initrd_fd);

enum console_index { CONSOLE_SERIAL, CONSOLE_VIRTIO };

/* --- irq.c: how devices reach the guest --- */

/* The messages of one PCI function, by vector; used under that device's lock. */
struct msi_block {
    struct vm *vm;
    uint16_t requester; /* its bus, device and function number */
    bool is_connected[MSIX_MAX_VECTORS];
    struct msi_message messages[MSIX_MAX_VECTORS];
};

/* A wire that several devices share: high while any of them pulls it. */
struct shared_wire {
    pthread_mutex_t lock;
    struct vm *vm;
    unsigned gsi;
    unsigned high_count;
};
struct wire_tap {
    struct shared_wire *wire;
    bool high;
};

/* One pin of the interrupt controller that a device has for itself. */
struct pin {
    struct vm *vm;
    unsigned gsi;
};

struct irq_line machine_pin(struct pin *pin, struct vm *vm, unsigned gsi);
struct irq_line machine_wire_tap(struct wire_tap *tap, struct shared_wire *wire);
struct msi_port machine_msi_port(struct msi_block *block, struct vm *vm, unsigned slot);
struct doorbell_port machine_doorbells(struct vm *vm);

/* --- console.c: ttyS0 and hvc0 --- */

struct machine;

struct console {
    struct machine *machine;
    struct device *serial; /* one of them */
    struct virtio_dev *vdev;
    struct stream *stream;
    struct tail tail; /* of CONSOLE_TAIL */
    struct escape escape;
};

/* Opens what the consoles talk to, and makes the terminal raw. Logs. Returns 0, -ETIME if --timeout
 * was over before a pipe had a reader, or -errno. */
int session_open_consoles(struct session *session);
void session_close_consoles(struct session *session);

/* Says what may follow the escape key. @has_break: it is a serial port's. */
void console_say_help(int key, bool has_break);

int add_serial(struct machine *machine);
int add_console(struct machine *machine);
/* Ends the streams, so that no device is called by them any more. */
void machine_stop_consoles(struct machine *machine);
/* The terminal's size changed. */
void machine_resize_console(struct machine *machine);

/* --- job.c: what the agent is asked to do --- */

/* Fills in @job, which is agent_job_fini()'s in any case. Logs. Returns 0, -ENOMEM, or -E2BIG for a
 * command that is too long. */
int machine_make_job(const struct config *config, struct agent_job *job);

/* --- command.c: the user's COMMAND, and the agent in the guest that runs it --- */

struct command {
    struct machine *machine;
    struct virtio_dev *vdev; /* the ports; NULL: there is no COMMAND */
    struct agent *agent;
    struct agent_job job;
    struct escape escape;
    struct loop_source *boot_timer, *oops_timer;
    uint64_t up_ms, started_ms, oops_ms, oom_ms, ended_ms; /* from launch; 0: not yet */
};

int add_command(struct machine *machine);
/* Arms the timer of --boot-timeout. Logs. Returns 0 or -errno. */
int machine_start_command(struct machine *machine);
/* Ends the streams; the loop does not run any more. */
void machine_stop_command(struct machine *machine);
/* Asks the command to end. Returns whether it was there to be asked. */
bool machine_signal_command(struct machine *machine, int signal_number);
void machine_resize_command(struct machine *machine);
/* Says how a machine with a COMMAND ended, in the command's terms, and tells the user why if it is
 * not the command's own end. */
void machine_judge_command(struct machine *machine);

/* --- the machine --- */

struct vcpu_thread {
    struct machine *machine;
    struct vcpu *vcpu;
    pthread_t thread;
    bool is_started;
};

struct machine {
    struct session *session;
    const struct config *config;
    struct loop *loop;
    struct guest_mem *mem;
    struct vm *vm;
    struct bus *ports, *memory;
    struct pci_host *pci;
    struct device *devices[MACHINE_MAX_DEVICES]; /* owned, in build order */
    size_t device_count;
    unsigned next_slot; /* on the PCI bus, or among the virtio-mmio pages */
    struct pin pins[LAYOUT_GSI_COUNT];
    struct shared_wire intx[INTX_COUNT];
    struct wire_tap intx_taps[PCI_SLOT_COUNT];
    struct msi_block *msi[PCI_SLOT_COUNT];
    struct device *power_button; /* one of devices: the chip that has it */
    struct console consoles[CONSOLE_COUNT];
    struct command command;
    struct board board; /* what was placed where */
    struct vcpu_thread *vcpus;
    unsigned vcpu_count;

    /* How it ends: whoever is first says so. */
    pthread_mutex_t end_lock;
    struct outcome outcome;
    _Atomic bool is_stopping;  /* vCPU threads leave */
    _Atomic bool has_panicked; /* under --on-panic=hold */
    int stop_signal;           /* the first SIGINT or SIGTERM, or 0 */
    int signal_fd;
    struct loop_source *signal_source, *timeout_timer, *grace_timer;
};

/* --- memory.c; all log, and return 0 or -errno --- */

/* Whether this host can bear a machine of that size. */
int machine_check_memory(const struct config *config);
int machine_make_memory(const struct config *config, struct guest_mem **ret);

/* --- board.c --- */

/* Fills in what is known before anything is placed. @vm: NULL for a machine that will not run.
 * Logs. Returns 0 or -errno; board_fini() is called in either case. */
int board_init(struct board *board, const struct config *config, const struct vm *vm);
void board_fini(struct board *board);

/* Says where the chips around the CPUs are, for whoever places them and for the guest; by
 * board_init(). In board_<architecture>.c. */
void board_place_chips(struct board *board, const struct vm *vm);

/* Adds a virtio device in @slot, the first of which is 1. */
void board_add_virtio(struct board *board, unsigned slot);
/* Adds all that @config asks for: for a machine that will not run. */
void board_foresee_devices(struct board *board, const struct config *config);

/* --- place.c --- */

/* Takes over @dev as the next device; fails if it is one too many, having destroyed it. */
int machine_own(struct machine *machine, struct device *dev);
/* Takes over the chip that a create function just put into *@chip, and gives it its first window.
 * @err is that function's result: arguments come in any order, so the chip cannot be one. */
int machine_place_chip(struct machine *machine, struct bus *bus, int err,
                       struct device *const *chip, uint64_t address, uint64_t size);
/* Shows a virtio device to the guest, by the transport that the user chose. Owns @vdev from the
 * call on. */
int machine_place_virtio(struct machine *machine, struct virtio_dev *vdev);

/* --- devices.c --- */

/* Builds every device that the machine has. Logs. Returns 0 or -errno. */
int machine_add_devices(struct machine *machine);

/* --- end.c --- */

/* Ends the machine, unless somebody did before. Any thread. */
void machine_end(struct machine *machine, enum outcome_kind kind, uint32_t value);
/* The same for a reset by the guest, which can be what its kernel does in a panic. */
void machine_end_by_reset(struct machine *machine, bool is_warm);

/* Where chips ask for what concerns the whole machine. */
struct power_port machine_power_port(struct machine *machine);

/* --- machine.c, run.c --- */

/* Puts the kernel that is in @files into @mem with the command line of @config, and a copy of the
 * device tree into @dtb_fd, if that is not -1, and says how to enter the kernel. Logs what is
 * wrong. Returns 0 or -errno. */
int machine_load_kernel(const struct config *config, const struct boot_files *files,
                        const struct board *board, int dtb_fd, struct guest_mem *mem,
                        struct cpu_entry *ret);

/* Starts the vCPUs, runs the loop to the machine's end, and joins them. */
void machine_run_to_end(struct machine *machine);

/* --- platform_<architecture>.c: the chips around the CPUs, and how the guest is told of them ---
 */

/* Adds the clock, the ways to power off and to reset, and what a panic is told to. */
int platform_add_chips(struct machine *machine);
/* Puts the serial port where the guest looks for it. */
int platform_place_serial(struct machine *machine, struct device *serial);
/* Writes the tables that lie in guest RAM whatever the kernel, when all is placed. */
int platform_write_tables(struct machine *machine);
/* Whether the guest, which was to reset warm in a panic only, did so. */
bool platform_reset_is_panic(const struct machine *machine, bool is_warm);
/* Presses the power button; the chip is locked by the caller. */
void platform_press_power_button(struct device *chip);
