// SPDX-License-Identifier: Apache-2.0
#include "dsdt.h"

#include <stdio.h>

#include "devices/pc_chips.h"

enum { PCI_PIN_COUNT = 4, PCI_SLOTS = 32 };
enum { EVENT_REGISTER_OFFSET = 4 }; /* from register_port */
enum { NOTIFY_BUTTON_PRESSED = 0x80 };

/* Operators that only these methods use (ACPI 6.4, 20.3). */
enum {
    OP_LOCAL0 = 0x60,
    OP_ARG0 = 0x68,
    OP_ARG1 = 0x69,
    OP_ARG3 = 0x6b,
    OP_STORE = 0x70,
    OP_AND = 0x7b,
    OP_OR = 0x7d,
    OP_NOTIFY = 0x86,
    OP_CREATE_DWORD_FIELD = 0x8a,
    OP_NOT = 0x92,
    OP_EQUAL = 0x93,
    OP_RETURN = 0xa4,
};

static void op(struct aml *aml, uint8_t code)
{
    aml_bytes(aml, &code, 1);
}

/* Name (_S5, Package () { what SLEEP_CONTROL takes, 0, 0, 0 }) */
static void write_sleep_states(struct aml *aml)
{
    aml_name(aml, "_S5_");
    aml_open_package(aml, 4);
    aml_integer(aml, ACPI_SLEEP_TYPE_S5);
    for (unsigned i = 0; i < 3; i++)
        aml_integer(aml, 0);
    aml_close(aml);
}

static void write_bridge_resources(const struct board *board, struct aml *aml)
{
    aml_name(aml, "_CRS");
    aml_open_resources(aml);
    aml_bus_window(aml, 0, 0);
    aml_io(aml, 0xcf8, 8);
    aml_memory32_window(aml, (uint32_t)board->pci32_base, (uint32_t)board->pci32_size);
    aml_close_resources(aml);
}

/* Package () { slot << 16 | any function, pin, no link device, GSI } for every pin of every slot;
 * they share four wires in turn. */
static void write_interrupt_routes(const struct board *board, struct aml *aml)
{
    aml_name(aml, "_PRT");
    aml_open_package(aml, (PCI_SLOTS - 1) * PCI_PIN_COUNT);
    for (unsigned slot = 1; slot < PCI_SLOTS; slot++) {
        for (unsigned pin = 0; pin < PCI_PIN_COUNT; pin++) {
            aml_open_package(aml, 4);
            aml_integer(aml, slot << 16 | 0xffff);
            aml_integer(aml, pin);
            aml_integer(aml, 0);
            aml_integer(aml, board->intx_gsi + (slot + pin) % PCI_PIN_COUNT);
            aml_close(aml);
        }
    }
    aml_close(aml);
}

/* CreateDWordField (Arg3, @offset, @name) */
static void write_osc_field(struct aml *aml, unsigned offset, const char *name)
{
    op(aml, OP_CREATE_DWORD_FIELD);
    op(aml, OP_ARG3);
    aml_integer(aml, offset);
    aml_path(aml, name);
}

/* CDW1 |= @bits */
static void write_osc_error(struct aml *aml, unsigned bits)
{
    op(aml, OP_OR);
    aml_path(aml, "CDW1");
    aml_integer(aml, bits);
    aml_path(aml, "CDW1");
}

/* _OSC (PCI Firmware 3.2, 4.5.1): the guest asks what of PCI Express it may drive itself. All of
 * it but the old hot-plug controllers, which are not there.
 *
 *   If (Arg0 == UUID of PCI host bridges) {
 *       Local0 = CDW3 & granted
 *       If (Arg1 != 1) { CDW1 |= unknown revision }
 *       If (CDW3 != Local0) { CDW1 |= capabilities masked }
 *       CDW3 = Local0
 *   } Else { CDW1 |= unrecognised UUID }
 *   Return (Arg3) */
static void write_osc(struct aml *aml)
{
    enum { UNKNOWN_UUID = 4, UNKNOWN_REVISION = 8, MASKED = 0x10, GRANTED = 0x1d };

    aml_open_method(aml, "_OSC", 4);
    write_osc_field(aml, 0, "CDW1");
    aml_open_if(aml);
    op(aml, OP_EQUAL);
    op(aml, OP_ARG0);
    aml_uuid(aml, "33DB4D5B-1FF7-401C-9657-7441C03DD766");
    write_osc_field(aml, 8, "CDW3");
    op(aml, OP_AND);
    aml_path(aml, "CDW3");
    aml_integer(aml, GRANTED);
    op(aml, OP_LOCAL0);
    aml_open_if(aml);
    op(aml, OP_NOT);
    op(aml, OP_EQUAL);
    op(aml, OP_ARG1);
    aml_integer(aml, 1);
    write_osc_error(aml, UNKNOWN_REVISION);
    aml_close(aml);
    aml_open_if(aml);
    op(aml, OP_NOT);
    op(aml, OP_EQUAL);
    aml_path(aml, "CDW3");
    op(aml, OP_LOCAL0);
    write_osc_error(aml, MASKED);
    aml_close(aml);
    op(aml, OP_STORE);
    op(aml, OP_LOCAL0);
    aml_path(aml, "CDW3");
    aml_close(aml);
    aml_open_else(aml);
    write_osc_error(aml, UNKNOWN_UUID);
    aml_close(aml);
    op(aml, OP_RETURN);
    op(aml, OP_ARG3);
    aml_close(aml);
}

static void write_pci(const struct board *board, struct aml *aml)
{
    aml_open_device(aml, "PCI0");
    aml_name_eisa_id(aml, "_HID", "PNP0A08"); /* PCI Express, for which ECAM stands ... */
    aml_name_eisa_id(aml, "_CID", "PNP0A03"); /* ... and which understands PCI */
    aml_name_integer(aml, "_UID", 0);
    aml_name_integer(aml, "_SEG", 0);
    aml_name_integer(aml, "_BBN", 0);
    write_bridge_resources(board, aml);
    write_interrupt_routes(board, aml);
    write_osc(aml);
    aml_close(aml);
}

/* What belongs to no device, but is not free either. */
static void write_reservations(const struct board *board, struct aml *aml)
{
    aml_open_device(aml, "RSVD");
    aml_name_eisa_id(aml, "_HID", "PNP0C02");
    aml_name_integer(aml, "_UID", 0);
    aml_name(aml, "_CRS");
    aml_open_resources(aml);
    aml_io(aml, board->acpi_registers.address, 8);
    if (board->has_pci)
        aml_memory32(aml, (uint32_t)board->ecam_base, 1u << 20);
    aml_close_resources(aml);
    aml_close(aml);
}

/* A device that is nothing but some ports. */
static void write_port_device(struct aml *aml, const char *name, uint16_t port, uint8_t len)
{
    aml_name(aml, name);
    aml_open_resources(aml);
    aml_io(aml, port, len);
    aml_close_resources(aml);
}

static void write_serial(const struct board *board, struct aml *aml)
{
    aml_open_device(aml, "COM1");
    aml_name_eisa_id(aml, "_HID", "PNP0501");
    aml_name_integer(aml, "_UID", 0);
    aml_name(aml, "_CRS");
    aml_open_resources(aml);
    aml_io(aml, board->serial.address, 8);
    aml_interrupt(aml, AML_EDGE_HIGH, board->serial.gsi);
    aml_close_resources(aml);
    aml_close(aml);
}

static void write_rtc(const struct board *board, struct aml *aml)
{
    aml_open_device(aml, "RTC_");
    aml_name_eisa_id(aml, "_HID", "PNP0B00");
    write_port_device(aml, "_CRS", board->rtc.address, 2);
    aml_close(aml);
}

static void write_pvpanic(const struct board *board, struct aml *aml)
{
    aml_open_device(aml, "PEVT");
    aml_name_string(aml, "_HID", "QEMU0001");
    write_port_device(aml, "_CRS", board->pvpanic.address, 1);
    aml_close(aml);
}

/* The generic event device (ACPI 6.4, 5.6.9), and the button that it speaks for.
 *
 *   Method (_EVT, 1) { Local0 = EVNT    // reading clears, and lowers the wire
 *                      If (Local0 & power button) { Notify (PWRB, 0x80) } } */
static void write_events(const struct board *board, struct aml *aml)
{
    aml_open_device(aml, "PWRB");
    aml_name_eisa_id(aml, "_HID", "PNP0C0C");
    aml_close(aml);

    aml_open_device(aml, "GED_");
    aml_name_string(aml, "_HID", "ACPI0013");
    aml_name(aml, "_CRS");
    aml_open_resources(aml);
    aml_interrupt(aml, AML_LEVEL_HIGH, board->acpi_registers.gsi);
    aml_close_resources(aml);
    aml_port_field(aml, "EREG", "EVNT",
                   (uint16_t)(board->acpi_registers.address + EVENT_REGISTER_OFFSET));
    aml_open_method(aml, "_EVT", 1);
    op(aml, OP_STORE);
    aml_path(aml, "EVNT");
    op(aml, OP_LOCAL0);
    aml_open_if(aml);
    op(aml, OP_AND);
    op(aml, OP_LOCAL0);
    aml_integer(aml, ACPI_EVENT_POWER_BUTTON);
    op(aml, 0); /* the result goes nowhere else */
    op(aml, OP_NOTIFY);
    aml_path(aml, "PWRB");
    aml_integer(aml, NOTIFY_BUTTON_PRESSED);
    aml_close(aml);
    aml_close(aml);
    aml_close(aml);
}

static void write_virtio_mmio(const struct board_virtio_mmio *slot, unsigned index, struct aml *aml)
{
    char name[8];

    (void)snprintf(name, sizeof(name), "VR%02u", index % 100);
    aml_open_device(aml, name);
    aml_name_string(aml, "_HID", "LNRO0005");
    aml_name_integer(aml, "_UID", index);
    aml_name_integer(aml, "_CCA", 1); /* DMA is coherent */
    aml_name(aml, "_CRS");
    aml_open_resources(aml);
    aml_memory32(aml, (uint32_t)slot->base, (uint32_t)slot->size);
    aml_interrupt(aml, AML_LEVEL_HIGH, slot->gsi);
    aml_close_resources(aml);
    aml_close(aml);
}

void dsdt_write(const struct board *board, struct aml *aml)
{
    write_sleep_states(aml);
    aml_open_scope(aml, "_SB_");
    write_reservations(board, aml);
    if (board->has_pci)
        write_pci(board, aml);
    if (board->serial.address)
        write_serial(board, aml);
    write_rtc(board, aml);
    if (board->pvpanic.address)
        write_pvpanic(board, aml);
    write_events(board, aml);
    for (size_t i = 0; i < board->virtio_mmio_count; i++)
        write_virtio_mmio(&board->virtio_mmio[i], (unsigned)i, aml);
    aml_close(aml);
}
