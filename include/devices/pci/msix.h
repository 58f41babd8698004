// SPDX-License-Identifier: Apache-2.0
/* MSI-X (PCI 3.0, 6.8.2): a table of messages in a BAR, and which of them may be sent.
 *
 * Embedded by a PCI function, under whose lock everything here is called. A vector is connected
 * to the machine when the guest unmasks it, so the messages the guest writes on the way there
 * cost nothing. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "devices/irq.h"
#include "devices/pci/pci.h"

enum { MSIX_MAX_VECTORS = 64, MSIX_ENTRY_SIZE = 16, MSIX_NO_VECTOR = 0xffff };

struct msix_state {
    uint32_t table[MSIX_MAX_VECTORS][4]; /* address low and high, data, vector control */
    uint64_t pending;                    /* a bit each */
};

struct msix {
    struct msix_state state;
    unsigned vector_count;
    unsigned capability; /* its offset in configuration space */
    struct pci_function *fn;
    struct msi_port port;
    /* Host side, a bit per vector. */
    uint64_t connected; /* the port has a message of it ... */
    uint64_t current;   /* ... which is still what the table says */
};

/* Adds the capability: table at @table_offset and pending bits at @pba_offset in BAR @bar. */
void msix_init(struct msix *msix, struct pci_function *fn, const struct msi_port *port,
               unsigned vector_count, unsigned bar, uint32_t table_offset, uint32_t pba_offset);
/* Back to power-on: every vector masked and disconnected. */
void msix_reset(struct msix *msix);

/* The BAR's part: @offset from the start of the table, or of the pending bits (read-only). */
uint64_t msix_table_read(const struct msix *msix, uint64_t offset, unsigned size);
void msix_table_write(struct msix *msix, uint64_t offset, unsigned size, uint64_t value);
uint64_t msix_pba_read(const struct msix *msix, uint64_t offset, unsigned size);

/* To be called by the function's config_written: message control may have changed. */
void msix_config_written(struct msix *msix, unsigned offset, unsigned size);

/* Whether the guest uses MSI-X rather than the INTx wire. */
bool msix_is_enabled(const struct msix *msix);

/* Sends vector @vector, or remembers it as pending while it is masked. Numbers past the table,
 * MSIX_NO_VECTOR among them, send nothing. */
void msix_raise(struct msix *msix, unsigned vector);

/* Loading comes after pci_function_load(), whose message control tells what to connect. A vector
 * that is open and pending, since the host could not connect it when it was raised, is sent then:
 * a pending message is due when its vector is unmasked (PCI 3.0, 6.8.3), and this one is, so
 * nothing else might ever send it. */
int msix_save(struct msix *msix, struct state_writer *out);
int msix_load(struct msix *msix, struct state_reader *in);
