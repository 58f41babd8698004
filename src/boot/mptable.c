// SPDX-License-Identifier: Apache-2.0
/* The MP table (Intel MultiProcessor Specification 1.4): a floating pointer with a signature to
 * search for, and behind it a table of entries in the order of their types.
 *
 * It has no word for most of the machine; a kernel probes for the rest as on any old PC. */
#include "boot/mptable.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "checksum.h"
#include "mem/layout.h"

enum { SPECIFICATION_1_4 = 4, POINTER_UNIT = 16 };

struct mp_pointer {
    char signature[4];
    uint32_t table;
    uint8_t length; /* in units of 16 bytes */
    uint8_t specification;
    uint8_t checksum;
    uint8_t features[5]; /* 0: there is a table, and no PIC mode to leave */
} __attribute__((packed));
static_assert(sizeof(struct mp_pointer) == POINTER_UNIT, "MP 1.4, 4.1");

struct mp_header {
    char signature[4];
    uint16_t length; /* with all entries */
    uint8_t specification;
    uint8_t checksum;
    char oem_id[8], product_id[12];
    uint32_t oem_table;
    uint16_t oem_table_size;
    uint16_t entry_count;
    uint32_t local_apic;
    uint16_t extended_length;
    uint8_t extended_checksum, reserved;
} __attribute__((packed));
static_assert(sizeof(struct mp_header) == 44, "MP 1.4, 4.2");

enum { ENTRY_PROCESSOR, ENTRY_BUS, ENTRY_IO_APIC, ENTRY_IO_INTERRUPT, ENTRY_LOCAL_INTERRUPT };

struct mp_processor {
    uint8_t type, apic_id, apic_version, flags;
    uint32_t signature, features; /* as of CPUID leaf 1, which kernels ask themselves */
    uint32_t reserved[2];
} __attribute__((packed));
static_assert(sizeof(struct mp_processor) == 20, "MP 1.4, 4.3.1");
enum { PROCESSOR_ENABLED = 1 << 0, PROCESSOR_BOOTS = 1 << 1 };
enum { PROCESSOR_FAMILY_6 = 6 << 8, PROCESSOR_FPU_AND_APIC = 1 << 9 | 1 << 0 };
/* The versions that KVM's local APICs and our I/O APIC say of themselves. The I/O APIC's ID is the
 * one in its register after power-on, and in the MADT. */
enum { LOCAL_APIC_VERSION = 0x14, IO_APIC_VERSION = 0x20, IO_APIC_ID = 0 };
enum { APIC_ID_MAX = 254, APIC_ID_ALL = 255 };

struct mp_bus {
    uint8_t type, id;
    char name[6]; /* filled up with blanks */
} __attribute__((packed));
static_assert(sizeof(struct mp_bus) == 8, "MP 1.4, 4.3.2");

struct mp_io_apic {
    uint8_t type, id, version, flags;
    uint32_t address;
} __attribute__((packed));
static_assert(sizeof(struct mp_io_apic) == 8, "MP 1.4, 4.3.3");
enum { IO_APIC_ENABLED = 1 };

/* For I/O and local interrupts alike. */
struct mp_interrupt {
    uint8_t type, kind;
    uint16_t flags;
    uint8_t bus, irq, apic_id, pin;
} __attribute__((packed));
static_assert(sizeof(struct mp_interrupt) == 8, "MP 1.4, 4.3.4 and 4.3.5");
enum { KIND_INT = 0, KIND_NMI = 1, KIND_EXTINT = 3 };
/* Polarity in bits 0 and 1, trigger in bits 2 and 3. */
enum {
    AS_THE_BUS_HAS_IT = 0, /* ISA: edge, active high; PCI: level, active low */
    EDGE_HIGH = 1 | 1 << 2,
    LEVEL_HIGH = 1 | 3 << 2,
    LEVEL_LOW = 3 | 3 << 2,
};
enum { LINT_EXTINT = 0, LINT_NMI = 1 };

enum { ISA_IRQ_COUNT = 16, ISA_IRQ_TIMER = 0, ISA_IRQ_CASCADE = 2, PCI_PIN_COUNT = 4 };

/* The table as it grows. */
struct builder {
    const struct board *board;
    uint8_t *data;
    size_t size, len;
    uint16_t entry_count;
    uint8_t isa_bus; /* PCI's bus 0 must be number 0, so ISA comes behind it */
};

static int append(struct builder *builder, const void *data, size_t len)
{
    if (len > builder->size - builder->len)
        return -ENOSPC;
    memcpy(builder->data + builder->len, data, len);
    builder->len += len;
    return 0;
}

static int add_entry(struct builder *builder, const void *entry, size_t len)
{
    builder->entry_count++;
    return append(builder, entry, len);
}

static int add_processors(struct builder *builder)
{
    struct mp_processor processor = {
        .type = ENTRY_PROCESSOR,
        .apic_version = LOCAL_APIC_VERSION,
        .flags = PROCESSOR_ENABLED | PROCESSOR_BOOTS,
        .signature = PROCESSOR_FAMILY_6,
        .features = PROCESSOR_FPU_AND_APIC,
    };
    int err = 0;

    for (uint32_t i = 0; !err && i < builder->board->cpu_count; i++) {
        processor.apic_id = (uint8_t)builder->board->cpu_ids[i];
        err = add_entry(builder, &processor, sizeof(processor));
        processor.flags = PROCESSOR_ENABLED; /* the first one boots */
    }
    return err;
}

static int add_buses(struct builder *builder)
{
    const struct mp_bus pci = { ENTRY_BUS, 0, { 'P', 'C', 'I', ' ', ' ', ' ' } };
    const struct mp_bus isa = { ENTRY_BUS, builder->isa_bus, { 'I', 'S', 'A', ' ', ' ', ' ' } };
    int err = builder->board->has_pci ? add_entry(builder, &pci, sizeof(pci)) : 0;

    return err ? err : add_entry(builder, &isa, sizeof(isa));
}

static int add_io_apic(struct builder *builder)
{
    const struct mp_io_apic io_apic = {
        .type = ENTRY_IO_APIC,
        .id = IO_APIC_ID,
        .version = IO_APIC_VERSION,
        .flags = IO_APIC_ENABLED,
        .address = (uint32_t)LAYOUT_IOAPIC_BASE,
    };

    return add_entry(builder, &io_apic, sizeof(io_apic));
}

static int add_interrupt(struct builder *builder, unsigned flags, unsigned bus, unsigned irq,
                         unsigned pin)
{
    const struct mp_interrupt interrupt = {
        .type = ENTRY_IO_INTERRUPT,
        .kind = KIND_INT,
        .flags = (uint16_t)flags,
        .bus = (uint8_t)bus,
        .irq = (uint8_t)irq,
        .apic_id = IO_APIC_ID,
        .pin = (uint8_t)pin,
    };

    return add_entry(builder, &interrupt, sizeof(interrupt));
}

/* For every pin of every slot in use, as the DSDT's _PRT has it. */
static int add_pci_interrupts(struct builder *builder)
{
    const struct board *board = builder->board;
    int err = 0;

    for (unsigned slot = 1; board->has_pci && slot < board->pci_slot_count; slot++) {
        for (unsigned pin = 0; !err && pin < PCI_PIN_COUNT; pin++)
            err = add_interrupt(builder, LEVEL_LOW, 0, slot << 2 | pin,
                                board->intx_gsi + (slot + pin) % PCI_PIN_COUNT);
    }
    return err;
}

static bool is_virtio_mmio(const struct board *board, unsigned gsi)
{
    for (size_t i = 0; i < board->virtio_mmio_count; i++) {
        if (board->virtio_mmio[i].gsi == gsi)
            return true;
    }
    return false;
}

/* What a kernel's drivers for the PC's old devices may ask for, each on the pin of its number. No
 * timer and no second PIC: they are not there, and kernels that find the pins try to use them. */
static int add_isa_interrupts(struct builder *builder)
{
    int err = 0;

    for (unsigned irq = 0; !err && irq < ISA_IRQ_COUNT; irq++) {
        if (irq == ISA_IRQ_TIMER || irq == ISA_IRQ_CASCADE || is_virtio_mmio(builder->board, irq))
            continue;
        err = add_interrupt(builder, EDGE_HIGH, builder->isa_bus, irq, irq);
    }
    return err;
}

/* They are on no bus that the specification knows; ISA, as its numbers are those of the pins. */
static int add_virtio_mmio_interrupts(struct builder *builder)
{
    const struct board *board = builder->board;
    int err = 0;

    for (size_t i = 0; !err && i < board->virtio_mmio_count; i++) {
        unsigned gsi = board->virtio_mmio[i].gsi;
        err = add_interrupt(builder, LEVEL_HIGH, builder->isa_bus, gsi, gsi);
    }
    return err;
}

/* As the first CPU's local APIC starts (src/cpu/x86_64/vcpu.c). */
static int add_local_interrupts(struct builder *builder)
{
    const struct mp_interrupt extint = {
        .type = ENTRY_LOCAL_INTERRUPT,
        .kind = KIND_EXTINT,
        .flags = AS_THE_BUS_HAS_IT,
        .bus = builder->isa_bus,
        .apic_id = (uint8_t)builder->board->cpu_ids[0],
        .pin = LINT_EXTINT,
    };
    const struct mp_interrupt nmi = {
        .type = ENTRY_LOCAL_INTERRUPT,
        .kind = KIND_NMI,
        .flags = AS_THE_BUS_HAS_IT,
        .bus = builder->isa_bus,
        .apic_id = APIC_ID_ALL,
        .pin = LINT_NMI,
    };
    int err = add_entry(builder, &extint, sizeof(extint));

    return err ? err : add_entry(builder, &nmi, sizeof(nmi));
}

/* Kinds of entries come in the order of their types. */
static int add_entries(struct builder *builder)
{
    static int (*const steps[])(struct builder *) = {
        add_processors,       add_buses,          add_io_apic,
        add_isa_interrupts,   add_pci_interrupts, add_virtio_mmio_interrupts,
        add_local_interrupts,
    };
    int err = 0;

    for (size_t i = 0; !err && i < sizeof(steps) / sizeof(steps[0]); i++)
        err = steps[i](builder);
    return err;
}

static void fill_pointer(struct builder *builder, gpa_t base)
{
    struct mp_pointer pointer = {
        .signature = { '_', 'M', 'P', '_' },
        .table = (uint32_t)(base + sizeof(pointer)),
        .length = sizeof(pointer) / POINTER_UNIT,
        .specification = SPECIFICATION_1_4,
    };

    pointer.checksum = checksum(&pointer, sizeof(pointer));
    memcpy(builder->data, &pointer, sizeof(pointer));
}

static void fill_header(struct builder *builder)
{
    uint8_t *table = builder->data + sizeof(struct mp_pointer);
    const size_t len = builder->len - sizeof(struct mp_pointer);
    struct mp_header header = {
        .signature = { 'P', 'C', 'M', 'P' },
        .length = (uint16_t)len,
        .specification = SPECIFICATION_1_4,
        .entry_count = builder->entry_count,
        .local_apic = (uint32_t)LAYOUT_LAPIC_BASE,
    };

    memcpy(header.oem_id, "HUTCH   ", sizeof(header.oem_id));
    memcpy(header.product_id, "HUTCHVM     ", sizeof(header.product_id));
    memcpy(table, &header, sizeof(header));
    header.checksum = checksum(table, len);
    memcpy(table, &header, sizeof(header));
}

static bool can_name_all_cpus(const struct board *board)
{
    for (uint32_t i = 0; i < board->cpu_count; i++) {
        if (board->cpu_ids[i] > APIC_ID_MAX)
            return false;
    }
    return true;
}

int mptable_build(const struct board *board, gpa_t base, uint8_t *buf, size_t size)
{
    static const uint8_t places[sizeof(struct mp_pointer) + sizeof(struct mp_header)];
    struct builder builder = { .board = board, .size = size, .isa_bus = board->has_pci };

    builder.data = buf;
    if (!can_name_all_cpus(board))
        return 0;
    int err = append(&builder, places, sizeof(places)); /* filled in at the end */
    if (!err)
        err = add_entries(&builder);
    if (err)
        return err;
    fill_header(&builder);
    fill_pointer(&builder, base);
    return (int)builder.len;
}
