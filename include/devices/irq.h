// SPDX-License-Identifier: Apache-2.0
/* The ways out of a device: interrupts, messages, doorbells, and power.
 *
 * Each is a function and a context, given to the device when it is created. Behind them stand
 * the kernel's interrupt controllers in a machine, and a bool in a unit test; the device cannot
 * tell. All may be called with the device's lock held, from any thread; none waits. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* A wire. A device sets it high while it wants attention; setting the same level again is
 * harmless. A zeroed irq_line is connected to nothing: use irq_line_set(). */
struct irq_line {
    void (*set)(void *ctx, bool high);
    void *ctx;
};

static inline void irq_line_set(const struct irq_line *line, bool high)
{
    if (line->set)
        line->set(line->ctx, high);
}

/* A message-signalled interrupt, as the guest programmed it (PCI 3.0, 6.8). */
struct msi_message {
    uint64_t address;
    uint32_t data;
};

/* The message-signalled interrupts of one device, by vector number. */
struct msi_port {
    /* Vector @vector from now on sends @message; NULL disconnects it. Returns 0 or -errno. */
    int (*connect)(void *ctx, unsigned vector, const struct msi_message *message);
    /* Sends the message that @vector was connected to; nothing if it was not. */
    void (*raise)(void *ctx, unsigned vector);
    void *ctx;
};

/* A guest write that means no more than that it happens. */
struct doorbell {
    uint64_t address; /* guest physical */
    unsigned size;    /* bytes written; 0: any, which is the fastest, as the kernel then need not
                       * look at the instruction */
    bool has_value;   /* only this value rings; with a size */
    uint32_t value;
};

/* Doorbells that the kernel turns into an eventfd signal instead of an exit. */
struct doorbell_port {
    /* @doorbell signals @fd from now on. Returns 0 or -errno; a device must then also understand
     * the write when it comes as an exit. */
    int (*connect)(void *ctx, const struct doorbell *doorbell, int fd);
    void (*disconnect)(void *ctx, const struct doorbell *doorbell, int fd);
    void *ctx;
};

/* What a guest can ask of its whole machine. */
enum power_event {
    POWER_OFF,        /* entered S5 */
    POWER_RESET,      /* asked for a reset through a chip that means it */
    POWER_PANIC,      /* its kernel panicked (pvpanic bit 0) */
    POWER_CRASH_LOAD, /* its kernel panicked, and goes on in a crash kernel (pvpanic bit 1) */
    POWER_DEBUG_EXIT, /* wrote @value to the debug-exit port */
};

struct power_port {
    void (*request)(void *ctx, enum power_event event, uint32_t value);
    void *ctx;
};
