// SPDX-License-Identifier: Apache-2.0
/* PCI: one host bridge with one bus, and the functions on it (PCI 3.0, PCI Express 6.0, 7.2).
 *
 * A function embeds struct pci_function, which holds its configuration space and its BARs. The
 * bridge answers for configuration space (ECAM and ports 0xcf8/0xcfc), locks the function that is
 * meant and lets pci_config_read() and pci_config_write() act. BARs come placed, and decoding
 * is off until the guest turns it on; when the guest moves one, the windows on the memory bus
 * move with it. A BAR that the guest puts where something else already answers stays without a
 * window until the place is free.
 *
 * Locks: the bridge's, then that of one function, then the bus's own. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/bus.h"
#include "devices/device.h"
#include "devices/irq.h"

enum { PCI_CONFIG_SIZE = 256, PCI_BAR_COUNT = 6, PCI_SLOT_COUNT = 32 };

struct pci_function;
struct pci_host;

struct pci_function_ops {
    /* Before a read of configuration space: refresh what is not plain memory. May be NULL. */
    void (*config_read)(struct pci_function *fn, unsigned offset, unsigned size);
    /* After a write to it: act on what changed. May be NULL. */
    void (*config_written)(struct pci_function *fn, unsigned offset, unsigned size);
    /* BAR @bar now decodes at @address, or nowhere if @decodes is false. May be NULL. */
    void (*bar_changed)(struct pci_function *fn, unsigned bar, bool decodes, uint64_t address);
};

/* The part that the guest sees and a snapshot keeps. */
struct pci_function_state {
    uint8_t config[PCI_CONFIG_SIZE];
};

struct pci_bar {
    uint64_t size;    /* bytes, a power of two; 0: there is none */
    bool is_64bit;    /* a memory BAR that takes this and the next register */
    bool is_mapped;   /* it has a window on the bus ... */
    uint64_t address; /* ... here */
    uint64_t home;    /* where it was placed, and is again after a reset */
};

struct pci_function {
    struct device dev; /* its operations answer for the BARs; see pci_bar_offset() */
    const struct pci_function_ops *ops;
    struct pci_function_state state;
    uint8_t writable[PCI_CONFIG_SIZE]; /* bits of config that the guest may change */
    struct pci_bar bars[PCI_BAR_COUNT];
    unsigned next_capability; /* where the next capability goes */
    struct bus *memory_bus;   /* once it is on a bus */
    struct irq_line intx;
};

struct pci_function_params {
    const char *name;
    uint16_t vendor_id, device_id, subsystem_vendor_id, subsystem_id;
    uint8_t revision;
    uint32_t class_code;  /* 24 bits: class, subclass, programming interface */
    bool has_intx;        /* interrupt pin A */
    struct irq_line intx; /* the wire on it, for pci_set_intx() */
    const struct device_ops *device_ops;
    const struct pci_function_ops *ops;
    pthread_mutex_t *lock; /* as of device_init() */
};

/* Fills in a function. It has no BARs and no capabilities yet. */
void pci_function_init(struct pci_function *fn, const struct pci_function_params *params);
/* Takes the windows off the bus, which must still exist, and releases the device part. No
 * operation is called any more. */
void pci_function_fini(struct pci_function *fn);
/* Back to power-on: BARs as first placed, decoding off, all else that is writable 0. */
void pci_function_reset(struct pci_function *fn);

/* Gives the function a memory BAR of @size bytes (a power of two, at least 4096).
 * The offsets that its device operations see are bytes from the start of BAR @bar plus
 * pci_bar_offset(@bar). */
void pci_add_bar(struct pci_function *fn, unsigned bar, uint64_t size, bool is_64bit);
static inline uint64_t pci_bar_offset(unsigned bar)
{
    return (uint64_t)bar << 32;
}

/* Appends a capability of @len bytes (its first two, ID and next pointer, included) with content
 * @data behind these two; read-only until fn->writable says otherwise.
 * Returns its offset in configuration space. */
unsigned pci_add_capability(struct pci_function *fn, uint8_t id, const void *data, size_t len);

/* The function wants, or no longer wants, the attention of the driver: shows it in the status
 * register, and on the wire unless the driver disabled that. */
void pci_set_intx(struct pci_function *fn, bool high);

/* The function's side of a configuration access, with the function locked. An access that leaves
 * configuration space, or is not naturally aligned, reads all ones and writes nothing. */
uint32_t pci_config_read(struct pci_function *fn, unsigned offset, unsigned size);
void pci_config_write(struct pci_function *fn, unsigned offset, unsigned size, uint32_t value);

/* Save and load configuration space; loading maps the BARs where it says, or refuses with
 * -EBADMSG what is another function's. A BAR whose place is taken waits for it, as if the guest
 * had put it there: of BARs that a guest left on one place, the one loaded first answers. */
int pci_function_save(struct pci_function *fn, struct state_writer *out);
int pci_function_load(struct pci_function *fn, struct state_reader *in);

struct pci_host_params {
    struct bus *memory_bus, *port_bus;     /* port_bus: may be NULL without a config_port */
    uint64_t ecam_base;                    /* 1 MiB from here on: one bus */
    uint16_t config_port;                  /* 0xcf8 on a PC; 0 for none */
    uint64_t window32_base, window32_size; /* where BARs are placed */
};

/* Makes the bridge, itself the function in slot 0, and puts it on both buses.
 * Returns 0 or -errno. */
int pci_host_create(const struct pci_host_params *params, struct pci_host **ret);
/* Takes the bridge off its buses, which must still exist, and frees it, not the functions behind
 * it. NULL is fine. */
void pci_host_destroy(struct pci_host *host);
/* The bridge as a device, to be reset, saved and loaded. */
struct device *pci_host_device(struct pci_host *host);

/* Puts a function into slot @slot (1 to 31) and places its BARs. The function stays the caller's
 * and must outlive its use by the guest. Returns 0, -EEXIST if the slot is taken, -ENOSPC if the
 * window has no room. */
int pci_host_add(struct pci_host *host, unsigned slot, struct pci_function *fn);
