// SPDX-License-Identifier: Apache-2.0
/* The PCI host bridge: finds the function that a configuration access means.
 *
 * Two ways lead to configuration space: ECAM, 4 KiB of memory per function (PCI Express 6.0,
 * 7.2.2), and a pair of ports, address at 0xcf8 and data at 0xcfc (PCI 3.0, 3.2.2.3.2). The
 * address port exists for four-byte accesses only, so other chips may use the bytes behind its
 * first; on a PC the reset control register is one of them.
 *
 * Configuration accesses take turns under the bridge's lock. An access that may have moved a
 * window lets every function try again to map the BARs that had no room before. */
#include "devices/pci/pci.h"

#include <assert.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdlib.h>

#include "function.h"
#include "host/state.h"

enum { HOST_STATE_VERSION = 1 };

enum { ECAM_SIZE = 1 << 20, ECAM_FUNCTION_SHIFT = 12 };

/* What tells the windows of the bridge apart: see bus_add(). */
#define WINDOW_ECAM UINT64_C(0)
#define WINDOW_ADDRESS (UINT64_C(1) << 32)
#define WINDOW_DATA (UINT64_C(2) << 32)

/* The address port: enable bit, bus, slot and function, register. */
#define ADDRESS_ENABLE UINT32_C(0x80000000)
#define ADDRESS_WRITABLE UINT32_C(0x80fffffc)

struct pci_host_state {
    uint32_t address; /* the address port */
};

struct pci_host {
    struct device dev;
    struct pci_host_params params;
    struct pci_host_state state;
    struct pci_function bridge; /* in slot 0 */
    struct pci_function *slots[PCI_SLOT_COUNT];
    uint64_t next_bar; /* where the next BAR may be placed */
};

static struct pci_host *host_of(struct device *dev)
{
    return container_of(dev, struct pci_host, dev);
}

/* The function at @devfn (slot in bits 3 to 7), or NULL if the guest shall find none there. */
static struct pci_function *host_find(const struct pci_host *host, unsigned devfn)
{
    return devfn & 7 ? NULL : host->slots[devfn >> 3];
}

static uint64_t host_config_read(struct pci_host *host, unsigned devfn, unsigned offset,
                                 unsigned size)
{
    struct pci_function *fn = host_find(host, devfn);

    if (!fn || size > 4)
        return UINT64_MAX;
    pthread_mutex_lock(fn->dev.lock);
    uint32_t value = pci_config_read(fn, offset, size);
    pthread_mutex_unlock(fn->dev.lock);
    return value;
}

static void host_update_bars(struct pci_host *host)
{
    for (unsigned slot = 0; slot < PCI_SLOT_COUNT; slot++) {
        struct pci_function *fn = host->slots[slot];
        if (!fn)
            continue;
        pthread_mutex_lock(fn->dev.lock);
        pci_function_update_bars(fn);
        pthread_mutex_unlock(fn->dev.lock);
    }
}

static void host_config_write(struct pci_host *host, unsigned devfn, unsigned offset, unsigned size,
                              uint32_t value)
{
    struct pci_function *fn = host_find(host, devfn);

    if (!fn)
        return;
    pthread_mutex_lock(fn->dev.lock);
    pci_config_write(fn, offset, size, value);
    pthread_mutex_unlock(fn->dev.lock);
    if (pci_config_moves_bars(offset))
        host_update_bars(host);
}

/* Where an access to byte @port_offset of the data port leads. Returns false if nowhere. */
static bool host_decode_address(const struct pci_host *host, uint64_t port_offset, unsigned *devfn,
                                unsigned *offset)
{
    uint32_t address = host->state.address;

    if (!(address & ADDRESS_ENABLE) || (address >> 16 & 0xff) != 0)
        return false;
    *devfn = address >> 8 & 0xff;
    *offset = (address & 0xfc) + (unsigned)port_offset;
    return true;
}

static unsigned ecam_devfn(uint64_t offset)
{
    return (unsigned)(offset >> ECAM_FUNCTION_SHIFT) & 0xff;
}

static unsigned ecam_offset(uint64_t offset)
{
    return (unsigned)offset & ((1U << ECAM_FUNCTION_SHIFT) - 1);
}

static uint64_t pci_host_read(struct device *dev, uint64_t offset, unsigned size)
{
    struct pci_host *host = host_of(dev);
    unsigned devfn, config_offset;

    if (offset < WINDOW_ADDRESS)
        return host_config_read(host, ecam_devfn(offset), ecam_offset(offset), size);
    if (offset < WINDOW_DATA)
        return size == 4 ? host->state.address : UINT64_MAX;
    if (!host_decode_address(host, offset - WINDOW_DATA, &devfn, &config_offset))
        return UINT64_MAX;
    return host_config_read(host, devfn, config_offset, size);
}

static void pci_host_write(struct device *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct pci_host *host = host_of(dev);
    unsigned devfn, config_offset;

    if (offset < WINDOW_ADDRESS) {
        host_config_write(host, ecam_devfn(offset), ecam_offset(offset), size, (uint32_t)value);
    } else if (offset < WINDOW_DATA) {
        if (size == 4)
            host->state.address = (uint32_t)value & ADDRESS_WRITABLE;
    } else if (host_decode_address(host, offset - WINDOW_DATA, &devfn, &config_offset)) {
        host_config_write(host, devfn, config_offset, size, (uint32_t)value);
    }
}

static void pci_host_reset(struct device *dev)
{
    struct pci_host *host = host_of(dev);

    host->state = (struct pci_host_state){ .address = 0 };
    pci_function_reset(&host->bridge);
}

static int pci_host_save(struct device *dev, struct state_writer *out)
{
    struct pci_host *host = host_of(dev);
    int err = state_save(out, "pci-host", HOST_STATE_VERSION, &host->state, sizeof(host->state));

    return err ? err : pci_function_save(&host->bridge, out);
}

static int pci_host_load(struct device *dev, struct state_reader *in)
{
    struct pci_host *host = host_of(dev);
    struct pci_host_state state;

    int err = state_load(in, "pci-host", HOST_STATE_VERSION, &state, sizeof(state));
    if (err)
        return err;
    if (state.address & ~ADDRESS_WRITABLE)
        return -EBADMSG;
    host->state = state;
    return pci_function_load(&host->bridge, in);
}

static void pci_host_destroy_device(struct device *dev)
{
    pci_host_destroy(host_of(dev));
}

static const struct device_ops pci_host_ops = {
    .read = pci_host_read,
    .write = pci_host_write,
    .reset = pci_host_reset,
    .save = pci_host_save,
    .load = pci_host_load,
    .destroy = pci_host_destroy_device,
};

static void host_init_bridge(struct pci_host *host)
{
    const struct pci_function_params params = {
        .name = "pci-host",
        .vendor_id = 0x1b36, /* Red Hat's; 0x0008 is their generic host bridge */
        .device_id = 0x0008,
        .class_code = 0x060000,
        .device_ops = &pci_host_ops, /* without BARs it is never on a bus by itself */
    };

    pci_function_init(&host->bridge, &params);
    host->slots[0] = &host->bridge;
}

static int host_add_windows(struct pci_host *host)
{
    const struct pci_host_params *params = &host->params;
    struct device *dev = &host->dev;

    int err = bus_add(params->memory_bus, params->ecam_base, ECAM_SIZE, dev, WINDOW_ECAM);
    if (err || !params->config_port)
        return err;
    err = bus_add(params->port_bus, params->config_port, 1, dev, WINDOW_ADDRESS);
    if (!err) {
        err = bus_add(params->port_bus, params->config_port + 4U, 4, dev, WINDOW_DATA);
        if (err)
            (void)bus_remove(params->port_bus, params->config_port);
    }
    if (err)
        (void)bus_remove(params->memory_bus, params->ecam_base);
    return err;
}

static void host_free(struct pci_host *host)
{
    pci_function_fini(&host->bridge);
    device_fini(&host->dev);
    free(host);
}

int pci_host_create(const struct pci_host_params *params, struct pci_host **ret)
{
    struct pci_host *host = calloc(1, sizeof(*host));

    if (!host)
        return -ENOMEM;
    host->params = *params;
    host->next_bar = params->window32_base;
    device_init(&host->dev, "pci-host", &pci_host_ops, NULL);
    host_init_bridge(host);
    int err = host_add_windows(host);
    if (err) {
        host_free(host);
        return err;
    }
    *ret = host;
    return 0;
}

void pci_host_destroy(struct pci_host *host)
{
    if (!host)
        return;
    (void)bus_remove(host->params.memory_bus, host->params.ecam_base);
    if (host->params.config_port) {
        (void)bus_remove(host->params.port_bus, host->params.config_port);
        (void)bus_remove(host->params.port_bus, host->params.config_port + 4U);
    }
    host_free(host);
}

struct device *pci_host_device(struct pci_host *host)
{
    return &host->dev;
}

/* Finds room for @size bytes from *@next on, and moves *@next behind it. */
static int host_take_room(const struct pci_host *host, uint64_t size, uint64_t *next,
                          uint64_t *address)
{
    uint64_t end = host->params.window32_base + host->params.window32_size;
    uint64_t base = (*next + size - 1) & ~(size - 1);

    if (base < *next || base > end || size > end - base)
        return -ENOSPC;
    *address = base;
    *next = base + size;
    return 0;
}

static int host_place_bars(struct pci_host *host, struct pci_function *fn)
{
    uint64_t addresses[PCI_BAR_COUNT];
    uint64_t next = host->next_bar;

    for (unsigned bar = 0; bar < PCI_BAR_COUNT; bar++) {
        if (!fn->bars[bar].size)
            continue;
        int err = host_take_room(host, fn->bars[bar].size, &next, &addresses[bar]);
        if (err)
            return err;
    }
    for (unsigned bar = 0; bar < PCI_BAR_COUNT; bar++) {
        if (fn->bars[bar].size)
            pci_function_place_bar(fn, bar, addresses[bar]);
    }
    host->next_bar = next;
    return 0;
}

int pci_host_add(struct pci_host *host, unsigned slot, struct pci_function *fn)
{
    assert(slot < PCI_SLOT_COUNT);
    if (host->slots[slot])
        return -EEXIST;
    int err = host_place_bars(host, fn);
    if (err)
        return err;
    fn->memory_bus = host->params.memory_bus;
    host->slots[slot] = fn;
    return 0;
}
