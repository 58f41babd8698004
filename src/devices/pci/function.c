// SPDX-License-Identifier: Apache-2.0
/* A PCI function: configuration space and BARs (PCI 3.0, 6).
 *
 * Configuration space is an array of bytes with an array of masks beside it: what the guest may
 * write is only stored, then the few registers that mean something are looked at again. So no
 * sequence of writes can bring the two out of step, and a saved state is the array of bytes.
 *
 * How BARs decode: a BAR wants a window when memory decoding is on, at the address in its
 * register. The windows that are no longer wanted go first, then the missing ones are added.
 * Where another window overlaps, the BAR stays without one ("not mapped") and is tried again
 * whenever anything on the bus may have moved; see host.c. */
#include "devices/pci/pci.h"

#include <assert.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>

#include "function.h"
#include "host/state.h"

enum { PCI_STATE_VERSION = 1 };

static uint16_t config_get16(const struct pci_function *fn, unsigned offset)
{
    uint16_t value;
    memcpy(&value, fn->state.config + offset, sizeof(value));
    return value;
}

static void config_set16(struct pci_function *fn, unsigned offset, uint16_t value)
{
    memcpy(fn->state.config + offset, &value, sizeof(value));
}

static uint32_t config_get32(const struct pci_function *fn, unsigned offset)
{
    uint32_t value;
    memcpy(&value, fn->state.config + offset, sizeof(value));
    return value;
}

static void config_set32(struct pci_function *fn, unsigned offset, uint32_t value)
{
    memcpy(fn->state.config + offset, &value, sizeof(value));
}

static void config_set_identity(struct pci_function *fn, const struct pci_function_params *params)
{
    uint8_t *config = fn->state.config;

    config_set16(fn, PCI_VENDOR_ID, params->vendor_id);
    config_set16(fn, PCI_DEVICE_ID, params->device_id);
    config_set32(fn, PCI_CLASS_REVISION, params->class_code << 8 | params->revision);
    config[PCI_HEADER_TYPE] = PCI_HEADER_TYPE_NORMAL; /* one function per slot */
    config_set16(fn, PCI_SUBSYSTEM_VENDOR_ID, params->subsystem_vendor_id);
    config_set16(fn, PCI_SUBSYSTEM_ID, params->subsystem_id);
    config[PCI_INTERRUPT_PIN] = params->has_intx ? 1 : 0;
}

void pci_function_init(struct pci_function *fn, const struct pci_function_params *params)
{
    uint16_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE;

    memset(&fn->state, 0, sizeof(fn->state));
    memset(fn->writable, 0, sizeof(fn->writable));
    memset(fn->bars, 0, sizeof(fn->bars));
    fn->ops = params->ops;
    fn->next_capability = PCI_STD_HEADER_SIZEOF;
    fn->memory_bus = NULL;
    fn->intx = params->intx;
    device_init(&fn->dev, params->name, params->device_ops, params->lock);
    config_set_identity(fn, params);
    memcpy(fn->writable + PCI_COMMAND, &command, sizeof(command));
    fn->writable[PCI_CACHE_LINE_SIZE] = 0xff;
    fn->writable[PCI_INTERRUPT_LINE] = 0xff;
}

void pci_function_fini(struct pci_function *fn)
{
    for (unsigned bar = 0; bar < PCI_BAR_COUNT; bar++) {
        if (fn->bars[bar].is_mapped)
            (void)bus_remove(fn->memory_bus, fn->bars[bar].address);
        fn->bars[bar].is_mapped = false;
    }
    device_fini(&fn->dev);
}

static unsigned bar_register(unsigned bar)
{
    return PCI_BASE_ADDRESS_0 + 4 * bar;
}

void pci_add_bar(struct pci_function *fn, unsigned bar, uint64_t size, bool is_64bit)
{
    uint64_t address_bits = ~(size - 1);

    assert(bar + is_64bit < PCI_BAR_COUNT && fn->bars[bar].size == 0);
    assert(size >= 4096 && (size & (size - 1)) == 0);
    assert(is_64bit || size <= UINT32_MAX);
    fn->bars[bar] = (struct pci_bar){ .size = size, .is_64bit = is_64bit };
    memcpy(fn->writable + bar_register(bar), &address_bits, is_64bit ? 8 : 4);
    fn->state.config[bar_register(bar)] =
        PCI_BASE_ADDRESS_SPACE_MEMORY |
        (is_64bit ? PCI_BASE_ADDRESS_MEM_TYPE_64 : PCI_BASE_ADDRESS_MEM_TYPE_32);
}

static uint64_t bar_address(const struct pci_function *fn, unsigned bar)
{
    uint64_t address = config_get32(fn, bar_register(bar)) & ~UINT32_C(0xf);

    if (fn->bars[bar].is_64bit)
        address |= (uint64_t)config_get32(fn, bar_register(bar + 1)) << 32;
    return address;
}

static void bar_set_address(struct pci_function *fn, unsigned bar, uint64_t address)
{
    uint32_t flags = fn->state.config[bar_register(bar)] & 0xf;

    config_set32(fn, bar_register(bar), (uint32_t)address | flags);
    if (fn->bars[bar].is_64bit)
        config_set32(fn, bar_register(bar + 1), (uint32_t)(address >> 32));
}

void pci_function_place_bar(struct pci_function *fn, unsigned bar, uint64_t address)
{
    fn->bars[bar].home = address;
    bar_set_address(fn, bar, address);
}

static void bar_tell(struct pci_function *fn, unsigned bar, bool decodes, uint64_t address)
{
    if (fn->ops && fn->ops->bar_changed)
        fn->ops->bar_changed(fn, bar, decodes, address);
}

static void bar_unmap(struct pci_function *fn, unsigned bar)
{
    (void)bus_remove(fn->memory_bus, fn->bars[bar].address);
    fn->bars[bar].is_mapped = false;
    bar_tell(fn, bar, false, 0);
}

static void bar_map(struct pci_function *fn, unsigned bar)
{
    uint64_t address = bar_address(fn, bar);

    if (bus_add(fn->memory_bus, address, fn->bars[bar].size, &fn->dev, pci_bar_offset(bar)))
        return; /* something else is there, or the bus is full: not mapped for now */
    fn->bars[bar].is_mapped = true;
    fn->bars[bar].address = address;
    bar_tell(fn, bar, true, address);
}

void pci_function_update_bars(struct pci_function *fn)
{
    bool decodes = config_get16(fn, PCI_COMMAND) & PCI_COMMAND_MEMORY;

    if (!fn->memory_bus)
        return;
    for (unsigned bar = 0; bar < PCI_BAR_COUNT; bar++) {
        if (fn->bars[bar].is_mapped && (!decodes || fn->bars[bar].address != bar_address(fn, bar)))
            bar_unmap(fn, bar);
    }
    for (unsigned bar = 0; decodes && bar < PCI_BAR_COUNT; bar++) {
        if (fn->bars[bar].size && !fn->bars[bar].is_mapped)
            bar_map(fn, bar);
    }
}

bool pci_config_moves_bars(unsigned offset)
{
    return offset < PCI_BASE_ADDRESS_5 + 4;
}

unsigned pci_add_capability(struct pci_function *fn, uint8_t id, const void *data, size_t len)
{
    unsigned offset = fn->next_capability;
    unsigned link = PCI_CAPABILITY_LIST;

    assert(len >= 2 && len <= PCI_CONFIG_SIZE - offset);
    while (fn->state.config[link])
        link = fn->state.config[link] + PCI_CAP_LIST_NEXT;
    fn->state.config[link] = (uint8_t)offset;
    fn->state.config[offset + PCI_CAP_LIST_ID] = id;
    memcpy(fn->state.config + offset + 2, data, len - 2);
    fn->next_capability = (unsigned)(offset + len + 3) & ~3U;
    fn->state.config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
    return offset;
}

/* Puts the wire where status and command register say. */
static void update_intx(struct pci_function *fn)
{
    bool wanted = config_get16(fn, PCI_STATUS) & PCI_STATUS_INTERRUPT;
    bool disabled = config_get16(fn, PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE;

    irq_line_set(&fn->intx, wanted && !disabled);
}

void pci_set_intx(struct pci_function *fn, bool high)
{
    uint16_t status = config_get16(fn, PCI_STATUS) & (uint16_t)~PCI_STATUS_INTERRUPT;

    config_set16(fn, PCI_STATUS, high ? status | PCI_STATUS_INTERRUPT : status);
    update_intx(fn);
}

void pci_function_reset(struct pci_function *fn)
{
    for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++)
        fn->state.config[i] &= (uint8_t)~fn->writable[i];
    for (unsigned bar = 0; bar < PCI_BAR_COUNT; bar++) {
        if (fn->bars[bar].size)
            bar_set_address(fn, bar, fn->bars[bar].home);
    }
    pci_set_intx(fn, false);
    pci_function_update_bars(fn);
}

static bool config_access_is_valid(unsigned offset, unsigned size)
{
    return (size == 1 || size == 2 || size == 4) && offset % size == 0 &&
           offset <= PCI_CONFIG_SIZE - size;
}

uint32_t pci_config_read(struct pci_function *fn, unsigned offset, unsigned size)
{
    uint32_t value = 0;

    if (!config_access_is_valid(offset, size))
        return UINT32_MAX;
    if (fn->ops && fn->ops->config_read)
        fn->ops->config_read(fn, offset, size);
    memcpy(&value, fn->state.config + offset, size);
    return value;
}

void pci_config_write(struct pci_function *fn, unsigned offset, unsigned size, uint32_t value)
{
    if (!config_access_is_valid(offset, size))
        return;
    for (unsigned i = offset; i < offset + size; i++, value >>= 8) {
        uint8_t writable = fn->writable[i];
        fn->state.config[i] = (fn->state.config[i] & (uint8_t)~writable) | (value & writable);
    }
    if (pci_config_moves_bars(offset)) {
        update_intx(fn);
        pci_function_update_bars(fn);
    }
    if (fn->ops && fn->ops->config_written)
        fn->ops->config_written(fn, offset, size);
}

int pci_function_save(struct pci_function *fn, struct state_writer *out)
{
    return state_save(out, "pci-function", PCI_STATE_VERSION, &fn->state, sizeof(fn->state));
}

/* Whether @state differs only in what a guest or the function itself may change. */
static bool state_fits(const struct pci_function *fn, const struct pci_function_state *state)
{
    for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++) {
        uint8_t changes = fn->writable[i] | (i == PCI_STATUS ? PCI_STATUS_INTERRUPT : 0);
        if ((state->config[i] ^ fn->state.config[i]) & (uint8_t)~changes)
            return false;
    }
    return true;
}

int pci_function_load(struct pci_function *fn, struct state_reader *in)
{
    struct pci_function_state state;

    int err = state_load(in, "pci-function", PCI_STATE_VERSION, &state, sizeof(state));
    if (err)
        return err;
    if (!state_fits(fn, &state))
        return -EBADMSG;
    fn->state = state;
    update_intx(fn);
    pci_function_update_bars(fn);
    return 0;
}
