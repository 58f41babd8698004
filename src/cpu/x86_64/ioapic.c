// SPDX-License-Identifier: Apache-2.0
/* The I/O APIC: its registers and pins. How a pin works is told in ioapic.h. Nothing here knows
 * KVM; the port says where messages go. */
#include "ioapic.h"

#include <string.h>

/* Offsets in the window, and registers behind them (82093AA, 3.0). */
enum { WINDOW_SELECT = 0x00, WINDOW_DATA = 0x10, WINDOW_EOI = 0x40 };
enum { REGISTER_ID = 0, REGISTER_VERSION = 1, REGISTER_ARBITRATION = 2, REGISTER_TABLE = 0x10 };

#define VERSION (0x20u | (IOAPIC_PIN_COUNT - 1) << 16)
#define ID_MASK 0x0f000000u

/* A redirection entry (82093AA, 3.2.4), and the upper 7 bits of a destination where KVM's guests
 * put them (Linux: Documentation/virt/kvm/x86/cpuid.rst, KVM_FEATURE_MSI_EXT_DEST_ID). */
#define ENTRY_VECTOR 0xffu
#define ENTRY_MODE_SHIFT 8
#define ENTRY_LOGICAL (1u << 11)
#define ENTRY_STATUS (1u << 12)
#define ENTRY_REMOTE_IRR (1u << 14)
#define ENTRY_LEVEL (1u << 15)
#define ENTRY_MASKED (1u << 16)
#define ENTRY_READ_ONLY (ENTRY_STATUS | ENTRY_REMOTE_IRR)
#define ENTRY_WRITABLE UINT64_C(0xfffe00000001ffff)

enum { MODE_EXTINT = 7 };

/* A message (Intel SDM volume 3, 11.11). */
#define MESSAGE_BASE UINT64_C(0xfee00000)
#define MESSAGE_LOGICAL (1u << 2)
#define MESSAGE_ASSERT (1u << 14)
#define MESSAGE_LEVEL (1u << 15)

void ioapic_init(struct ioapic *ioapic, const struct ioapic_port *port)
{
    memset(ioapic, 0, sizeof(*ioapic));
    pthread_mutex_init(&ioapic->lock, NULL);
    ioapic->port = *port;
    for (unsigned pin = 0; pin < IOAPIC_PIN_COUNT; pin++)
        ioapic->state.redirection[pin] = ENTRY_MASKED;
}

void ioapic_fini(struct ioapic *ioapic)
{
    pthread_mutex_destroy(&ioapic->lock);
}

static uint64_t message_address(uint64_t entry)
{
    uint64_t destination = entry >> 56, extended = entry >> 49 & 0x7f;

    return MESSAGE_BASE | destination << 12 | extended << 5 |
           (entry & ENTRY_LOGICAL ? MESSAGE_LOGICAL : 0);
}

static uint32_t message_data(uint64_t entry)
{
    uint32_t data = (uint32_t)entry & (ENTRY_VECTOR | 7u << ENTRY_MODE_SHIFT);

    return data | MESSAGE_ASSERT | (entry & ENTRY_LEVEL ? MESSAGE_LEVEL : 0);
}

/* There are no PICs behind ExtINT, so such a pin is silent. */
static bool is_silent(uint64_t entry)
{
    return (entry & ENTRY_MASKED) || (entry >> ENTRY_MODE_SHIFT & 7) == MODE_EXTINT;
}

static void send(struct ioapic *ioapic, unsigned pin)
{
    uint64_t entry = ioapic->state.redirection[pin];

    ioapic->port.send(ioapic->port.ctx, message_address(entry), message_data(entry));
}

/* Sends for a level-triggered pin that asks for it. */
static void serve_level(struct ioapic *ioapic, unsigned pin)
{
    uint64_t *entry = &ioapic->state.redirection[pin];

    if (is_silent(*entry) || !(*entry & ENTRY_LEVEL) || (*entry & ENTRY_REMOTE_IRR) ||
        !(ioapic->state.wires & 1u << pin))
        return;
    *entry |= ENTRY_REMOTE_IRR;
    send(ioapic, pin);
}

/* Turning a pin to edge ends its service; Linux ends a stuck one that way. */
static void write_entry(struct ioapic *ioapic, unsigned pin, uint64_t value)
{
    uint64_t *entry = &ioapic->state.redirection[pin];
    uint64_t read_only = *entry & ENTRY_READ_ONLY;

    *entry = (value & ENTRY_WRITABLE & ~(uint64_t)ENTRY_READ_ONLY) | read_only;
    if (!(*entry & ENTRY_LEVEL))
        *entry &= ~(uint64_t)ENTRY_REMOTE_IRR;
    if ((*entry & ENTRY_LEVEL) && !is_silent(*entry))
        ioapic->port.watch(ioapic->port.ctx, pin, message_address(*entry), message_data(*entry));
    serve_level(ioapic, pin);
}

static uint32_t read_register(const struct ioapic *ioapic)
{
    unsigned index = ioapic->state.selected;
    unsigned pin = (index - REGISTER_TABLE) / 2;

    switch (index) {
    case REGISTER_ID:
    case REGISTER_ARBITRATION:
        return ioapic->state.id;
    case REGISTER_VERSION:
        return VERSION;
    default:
        if (index < REGISTER_TABLE || pin >= IOAPIC_PIN_COUNT)
            return 0;
        return (uint32_t)(ioapic->state.redirection[pin] >> (index & 1 ? 32 : 0));
    }
}

static void write_register(struct ioapic *ioapic, uint32_t value)
{
    unsigned index = ioapic->state.selected;
    unsigned pin = (index - REGISTER_TABLE) / 2;

    if (index == REGISTER_ID)
        ioapic->state.id = value & ID_MASK;
    if (index < REGISTER_TABLE || pin >= IOAPIC_PIN_COUNT)
        return;

    uint64_t entry = ioapic->state.redirection[pin];
    if (index & 1)
        write_entry(ioapic, pin, (entry & UINT32_MAX) | (uint64_t)value << 32);
    else
        write_entry(ioapic, pin, (entry & ~(uint64_t)UINT32_MAX) | value);
}

static void end_service(struct ioapic *ioapic, uint8_t vector)
{
    for (unsigned pin = 0; pin < IOAPIC_PIN_COUNT; pin++) {
        uint64_t *entry = &ioapic->state.redirection[pin];

        if ((*entry & ENTRY_VECTOR) != vector || !(*entry & ENTRY_REMOTE_IRR))
            continue;
        *entry &= ~(uint64_t)ENTRY_REMOTE_IRR;
        serve_level(ioapic, pin);
    }
}

uint32_t ioapic_read(struct ioapic *ioapic, uint64_t offset)
{
    uint32_t value = 0;

    pthread_mutex_lock(&ioapic->lock);
    if (offset == WINDOW_SELECT)
        value = ioapic->state.selected;
    else if (offset == WINDOW_DATA)
        value = read_register(ioapic);
    pthread_mutex_unlock(&ioapic->lock);
    return value;
}

void ioapic_write(struct ioapic *ioapic, uint64_t offset, uint32_t value)
{
    pthread_mutex_lock(&ioapic->lock);
    if (offset == WINDOW_SELECT)
        ioapic->state.selected = (uint8_t)value;
    else if (offset == WINDOW_DATA)
        write_register(ioapic, value);
    else if (offset == WINDOW_EOI)
        end_service(ioapic, (uint8_t)value);
    pthread_mutex_unlock(&ioapic->lock);
}

void ioapic_set_wire(struct ioapic *ioapic, unsigned pin, bool high)
{
    if (pin >= IOAPIC_PIN_COUNT)
        return;
    pthread_mutex_lock(&ioapic->lock);

    uint32_t bit = 1u << pin;
    bool rises = high && !(ioapic->state.wires & bit);
    uint64_t entry = ioapic->state.redirection[pin];

    ioapic->state.wires = (ioapic->state.wires & ~bit) | (high ? bit : 0);
    if (entry & ENTRY_LEVEL)
        serve_level(ioapic, pin);
    else if (rises && !is_silent(entry))
        send(ioapic, pin);
    pthread_mutex_unlock(&ioapic->lock);
}

void ioapic_end_of_interrupt(struct ioapic *ioapic, uint8_t vector)
{
    pthread_mutex_lock(&ioapic->lock);
    end_service(ioapic, vector);
    pthread_mutex_unlock(&ioapic->lock);
}
