// SPDX-License-Identifier: Apache-2.0
/* MSI-X: see devices/pci/msix.h.
 *
 * How this works: a vector is open while MSI-X is enabled and neither the function nor the vector
 * is masked. Opening it connects the message of the table, if the port does not have that one
 * yet, and sends what became pending meanwhile. Masking it changes nothing at the port, since
 * nothing is raised while it is masked: a driver masks and unmasks far more often than it changes
 * a message. If the host cannot connect a vector now, what is raised stays pending, and the next
 * opening or raise tries again. */
#include "devices/pci/msix.h"

#include <assert.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <stddef.h>
#include <string.h>

#include "host/state.h"

enum { MSIX_STATE_VERSION = 1 };

/* The words of a table entry. */
enum { WORD_ADDRESS_LOW, WORD_ADDRESS_HIGH, WORD_DATA, WORD_CONTROL, WORD_COUNT };

static_assert(WORD_COUNT * sizeof(uint32_t) == MSIX_ENTRY_SIZE, "an entry is its words");

/* The bits of each word that can be set. */
static const uint32_t word_writable[WORD_COUNT] = {
    [WORD_ADDRESS_LOW] = ~UINT32_C(3),
    [WORD_ADDRESS_HIGH] = UINT32_MAX,
    [WORD_DATA] = UINT32_MAX,
    [WORD_CONTROL] = PCI_MSIX_ENTRY_CTRL_MASKBIT,
};

static uint64_t vector_bit(unsigned vector)
{
    return UINT64_C(1) << vector;
}

static void mask_all_vectors(struct msix *msix)
{
    for (unsigned vector = 0; vector < msix->vector_count; vector++)
        msix->state.table[vector][WORD_CONTROL] = PCI_MSIX_ENTRY_CTRL_MASKBIT;
}

void msix_init(struct msix *msix, struct pci_function *fn, const struct msi_port *port,
               unsigned vector_count, unsigned bar, uint32_t table_offset, uint32_t pba_offset)
{
    uint16_t flags = (uint16_t)(vector_count - 1);
    uint32_t table = table_offset | bar;
    uint32_t pba = pba_offset | bar;
    uint8_t data[PCI_CAP_MSIX_SIZEOF - 2];

    assert(vector_count >= 1 && vector_count <= MSIX_MAX_VECTORS && bar < PCI_BAR_COUNT);
    assert(table_offset % 8 == 0 && pba_offset % 8 == 0);
    *msix = (struct msix){ .vector_count = vector_count, .fn = fn, .port = *port };
    memcpy(data + PCI_MSIX_FLAGS - 2, &flags, sizeof(flags));
    memcpy(data + PCI_MSIX_TABLE - 2, &table, sizeof(table));
    memcpy(data + PCI_MSIX_PBA - 2, &pba, sizeof(pba));
    msix->capability = pci_add_capability(fn, PCI_CAP_ID_MSIX, data, PCI_CAP_MSIX_SIZEOF);
    fn->writable[msix->capability + PCI_MSIX_FLAGS + 1] =
        (PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL) >> 8;
    mask_all_vectors(msix);
}

void msix_reset(struct msix *msix)
{
    for (unsigned vector = 0; vector < msix->vector_count; vector++) {
        if (msix->connected & vector_bit(vector))
            (void)msix->port.connect(msix->port.ctx, vector, NULL);
    }
    msix->connected = 0;
    msix->current = 0;
    memset(&msix->state, 0, sizeof(msix->state));
    mask_all_vectors(msix);
}

static uint16_t msix_flags(const struct msix *msix)
{
    uint16_t flags;
    memcpy(&flags, msix->fn->state.config + msix->capability + PCI_MSIX_FLAGS, sizeof(flags));
    return flags;
}

bool msix_is_enabled(const struct msix *msix)
{
    return msix_flags(msix) & PCI_MSIX_FLAGS_ENABLE;
}

static bool vector_is_open(const struct msix *msix, unsigned vector)
{
    uint16_t flags = msix_flags(msix);

    return (flags & PCI_MSIX_FLAGS_ENABLE) && !(flags & PCI_MSIX_FLAGS_MASKALL) &&
           !(msix->state.table[vector][WORD_CONTROL] & PCI_MSIX_ENTRY_CTRL_MASKBIT);
}

/* Lets the port have the table's message, if it has not. Returns 0 or -errno. */
static int vector_connect(struct msix *msix, unsigned vector)
{
    const uint32_t *entry = msix->state.table[vector];
    const struct msi_message message = {
        .address = (uint64_t)entry[WORD_ADDRESS_HIGH] << 32 | entry[WORD_ADDRESS_LOW],
        .data = entry[WORD_DATA],
    };

    if (msix->current & vector_bit(vector))
        return 0;
    int err = msix->port.connect(msix->port.ctx, vector, &message);
    if (err)
        return err;
    msix->connected |= vector_bit(vector);
    msix->current |= vector_bit(vector);
    return 0;
}

/* If @vector is open: connects it, and sends it if it is pending. */
static void vector_update(struct msix *msix, unsigned vector)
{
    if (!vector_is_open(msix, vector) || vector_connect(msix, vector))
        return;
    if (msix->state.pending & vector_bit(vector)) {
        msix->state.pending &= ~vector_bit(vector);
        msix->port.raise(msix->port.ctx, vector);
    }
}

static void msix_update(struct msix *msix)
{
    for (unsigned vector = 0; vector < msix->vector_count; vector++)
        vector_update(msix, vector);
}

void msix_raise(struct msix *msix, unsigned vector)
{
    if (vector >= msix->vector_count || !msix_is_enabled(msix))
        return;
    msix->state.pending |= vector_bit(vector);
    vector_update(msix, vector);
}

void msix_config_written(struct msix *msix, unsigned offset, unsigned size)
{
    unsigned flags = msix->capability + PCI_MSIX_FLAGS;

    if (offset >= flags + 2 || offset + size <= flags)
        return;
    if (!msix_is_enabled(msix))
        msix->state.pending = 0;
    msix_update(msix);
}

/* Whether an access is one that the specification has a meaning for (PCI 3.0, 6.8.2). */
static bool access_is_valid(uint64_t offset, unsigned size, uint64_t len)
{
    return (size == 4 || size == 8) && offset % size == 0 && offset < len && size <= len - offset;
}

static uint64_t table_len(const struct msix *msix)
{
    return (uint64_t)msix->vector_count * MSIX_ENTRY_SIZE;
}

uint64_t msix_table_read(const struct msix *msix, uint64_t offset, unsigned size)
{
    uint64_t value = 0;

    if (access_is_valid(offset, size, table_len(msix)))
        memcpy(&value, (const uint8_t *)msix->state.table + offset, size);
    return value;
}

static void write_word(struct msix *msix, unsigned vector, unsigned word, uint32_t value)
{
    uint32_t *entry = msix->state.table[vector];

    value &= word_writable[word];
    if (word != WORD_CONTROL && entry[word] != value)
        msix->current &= ~vector_bit(vector);
    entry[word] = value;
}

void msix_table_write(struct msix *msix, uint64_t offset, unsigned size, uint64_t value)
{
    if (!access_is_valid(offset, size, table_len(msix)))
        return;
    unsigned vector = (unsigned)(offset / MSIX_ENTRY_SIZE);
    unsigned word = (unsigned)(offset % MSIX_ENTRY_SIZE) / 4;
    write_word(msix, vector, word, (uint32_t)value);
    if (size == 8)
        write_word(msix, vector, word + 1, (uint32_t)(value >> 32));
    vector_update(msix, vector);
}

uint64_t msix_pba_read(const struct msix *msix, uint64_t offset, unsigned size)
{
    uint64_t value = 0;

    if (access_is_valid(offset, size, sizeof(msix->state.pending)))
        memcpy(&value, (const uint8_t *)&msix->state.pending + offset, size);
    return value;
}

int msix_save(struct msix *msix, struct state_writer *out)
{
    return state_save(out, "msix", MSIX_STATE_VERSION, &msix->state, sizeof(msix->state));
}

/* Whether a table of @vector_count vectors can have come to look like this. */
static bool state_is_valid(const struct msix_state *state, unsigned vector_count)
{
    for (unsigned vector = 0; vector < MSIX_MAX_VECTORS; vector++) {
        bool exists = vector < vector_count;
        if (!exists && state->pending & vector_bit(vector))
            return false;
        for (unsigned word = 0; word < WORD_COUNT; word++) {
            if (state->table[vector][word] & (exists ? ~word_writable[word] : UINT32_MAX))
                return false;
        }
    }
    return true;
}

int msix_load(struct msix *msix, struct state_reader *in)
{
    struct msix_state state;

    int err = state_load(in, "msix", MSIX_STATE_VERSION, &state, sizeof(state));
    if (err)
        return err;
    if (!state_is_valid(&state, msix->vector_count))
        return -EBADMSG;
    msix->state = state;
    msix->current = 0;
    msix_update(msix);
    return 0;
}
