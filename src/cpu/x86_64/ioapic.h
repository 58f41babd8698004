// SPDX-License-Identifier: Apache-2.0
/* The I/O APIC (Intel 82093AA data sheet, version 0x20 with its EOI register): turns wires into
 * messages to local APICs.
 *
 * How a level-triggered pin works: while its wire is high and the pin is neither masked nor in
 * service (remote IRR), a message is sent and the pin is in service; the end of interrupt with its
 * vector ends the service, and if the wire is still high the next message goes out. An edge on a
 * masked pin is lost, as the data sheet says. All functions may be called from any thread. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum { IOAPIC_PIN_COUNT = 24, IOAPIC_WINDOW_SIZE = 0x100 };

/* What the guest sees and a snapshot keeps. */
struct ioapic_state {
    uint64_t redirection[IOAPIC_PIN_COUNT];
    uint32_t wires; /* the levels, a bit each */
    uint32_t id;
    uint8_t selected; /* the register behind the data window */
    uint8_t padding[7];
};

struct ioapic_port {
    /* Sends a message. */
    void (*send)(void *ctx, uint64_t address, uint32_t data);
    /* A level-triggered pin now sends this message: its end of interrupt must be heard of. Called
     * before the first such message goes out, and whenever the guest wrote the pin; may wait for
     * the kernel. */
    void (*watch)(void *ctx, unsigned pin, uint64_t address, uint32_t data);
    void *ctx;
};

struct ioapic {
    pthread_mutex_t lock;
    struct ioapic_state state;
    struct ioapic_port port;
};

void ioapic_init(struct ioapic *ioapic, const struct ioapic_port *port);
void ioapic_fini(struct ioapic *ioapic);

/* Accesses to its window of registers. */
uint32_t ioapic_read(struct ioapic *ioapic, uint64_t offset);
void ioapic_write(struct ioapic *ioapic, uint64_t offset, uint32_t value);

/* Sets the wire of @pin; other pins than there are do not exist. */
void ioapic_set_wire(struct ioapic *ioapic, unsigned pin, bool high);

/* A local APIC ended an interrupt with @vector. */
void ioapic_end_of_interrupt(struct ioapic *ioapic, uint8_t vector);
