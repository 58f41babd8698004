// SPDX-License-Identifier: Apache-2.0
/* The static ACPI tables, one behind the other: RSDP, XSDT, FADT, MADT, MCFG, DSDT.
 *
 * Hardware-reduced ACPI has no PM1 registers, no SMI and no legacy interrupts: sleep goes through
 * two byte registers, events through the generic event device of the DSDT. */
#include "boot/acpi.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "checksum.h"
#include "dsdt.h"
#include "mem/layout.h"

#define OEM_ID "HUTCH "
#define OEM_TABLE_ID "HUTCHVM "
#define CREATOR_ID "HTCH"

enum { TABLE_ALIGN = 16, XSDT_ENTRIES_MAX = 3 };

struct rsdp {
    char signature[8];
    uint8_t checksum; /* of the first 20 bytes */
    char oem_id[6];
    uint8_t revision;
    uint32_t rsdt;
    uint32_t length;
    uint64_t xsdt;
    uint8_t extended_checksum;
    uint8_t reserved[3];
} __attribute__((packed));
static_assert(sizeof(struct rsdp) == 36, "ACPI 6.4, 5.2.5.3");

struct table_header {
    char signature[4];
    uint32_t length;
    uint8_t revision;
    uint8_t checksum;
    char oem_id[6];
    char oem_table_id[8];
    uint32_t oem_revision;
    char creator_id[4];
    uint32_t creator_revision;
} __attribute__((packed));
static_assert(sizeof(struct table_header) == 36, "ACPI 6.4, 5.2.6");

struct generic_address {
    uint8_t space, bit_width, bit_offset, access_size;
    uint64_t address;
} __attribute__((packed));
enum { SPACE_IO = 1, ACCESS_BYTE = 1 };

struct fadt {
    struct table_header header;
    uint32_t firmware_control, dsdt;
    uint8_t reserved0, preferred_pm_profile;
    uint16_t sci_interrupt;
    uint32_t smi_command;
    uint8_t fixed_hardware[56]; /* PM1 blocks and what else a reduced machine does not have */
    uint8_t rtc_century;        /* which byte of CMOS RAM */
    uint16_t boot_architecture;
    uint8_t reserved1;
    uint32_t flags;
    struct generic_address reset_register;
    uint8_t reset_value;
    uint16_t arm_boot_architecture;
    uint8_t minor_version;
    uint64_t x_firmware_control, x_dsdt;
    struct generic_address x_fixed_hardware[8];
    struct generic_address sleep_control, sleep_status;
    char hypervisor_vendor[8];
} __attribute__((packed));
static_assert(offsetof(struct fadt, boot_architecture) == 109, "ACPI 6.4, 5.2.9");
static_assert(offsetof(struct fadt, sleep_control) == 244, "ACPI 6.4, 5.2.9");
static_assert(sizeof(struct fadt) == 276, "ACPI 6.4, 5.2.9");

enum {
    FADT_WBINVD = 1 << 0,
    FADT_PROC_C1 = 1 << 2,
    FADT_NO_FIXED_POWER_BUTTON = 1 << 4,
    FADT_NO_FIXED_SLEEP_BUTTON = 1 << 5,
    FADT_NO_FIXED_RTC_WAKE = 1 << 6,
    FADT_RESET_REGISTER = 1 << 10,
    FADT_HW_REDUCED = 1 << 20,
};
/* Of IAPC_BOOT_ARCH. Flags that are not set say that there is no i8042 either. */
enum { BOOT_VGA_NOT_PRESENT = 1 << 2 };
enum { RESET_VALUE = 6, RTC_CENTURY = 0x32 };

struct madt {
    struct table_header header;
    uint32_t local_apic;
    uint32_t flags; /* 0: no 8259 */
} __attribute__((packed));

enum {
    MADT_LOCAL_APIC = 0,
    MADT_IO_APIC = 1,
    MADT_LOCAL_APIC_NMI = 4,
    MADT_X2APIC = 9,
    MADT_X2APIC_NMI = 10,
};
enum { APIC_ID_MAX = 254, APIC_ENABLED = 1, NMI_LINT = 1 };

struct madt_local_apic {
    uint8_t type, length, uid, apic_id;
    uint32_t flags;
} __attribute__((packed));

struct madt_x2apic {
    uint8_t type, length;
    uint16_t reserved;
    uint32_t apic_id, flags, uid;
} __attribute__((packed));

struct madt_io_apic {
    uint8_t type, length, id, reserved;
    uint32_t address, gsi_base;
} __attribute__((packed));

struct madt_local_apic_nmi {
    uint8_t type, length, uid;
    uint16_t flags;
    uint8_t lint;
} __attribute__((packed));

struct madt_x2apic_nmi {
    uint8_t type, length;
    uint16_t flags;
    uint32_t uid;
    uint8_t lint, reserved[3];
} __attribute__((packed));

struct mcfg {
    struct table_header header;
    uint64_t reserved;
    uint64_t base;
    uint16_t segment;
    uint8_t first_bus, last_bus;
    uint32_t reserved1;
} __attribute__((packed));

/* The tables as they grow. */
struct builder {
    gpa_t base;
    uint8_t *data;
    size_t size, len;
    size_t table; /* where the open table starts */
    uint64_t entries[XSDT_ENTRIES_MAX];
    size_t entry_count;
};

static int append(struct builder *builder, const void *data, size_t len)
{
    if (len > builder->size - builder->len)
        return -ENOSPC;
    memcpy(builder->data + builder->len, data, len);
    builder->len += len;
    return 0;
}

static int align(struct builder *builder)
{
    static const uint8_t zeroes[TABLE_ALIGN];

    return append(builder, zeroes, -builder->len % TABLE_ALIGN);
}

static struct table_header header_make(const char *signature, uint8_t revision)
{
    struct table_header header = { .revision = revision, .oem_revision = 1, .creator_revision = 1 };

    memcpy(header.signature, signature, sizeof(header.signature));
    memcpy(header.oem_id, OEM_ID, sizeof(header.oem_id));
    memcpy(header.oem_table_id, OEM_TABLE_ID, sizeof(header.oem_table_id));
    memcpy(header.creator_id, CREATOR_ID, sizeof(header.creator_id));
    return header;
}

/* Starts a table with its header, or with a struct that starts with one. */
static int table_open(struct builder *builder, const void *start, size_t len)
{
    int err = align(builder);

    builder->table = builder->len;
    return err ? err : append(builder, start, len);
}

/* Fills in the length and the checksum. */
static void table_close(struct builder *builder)
{
    struct table_header header;
    uint8_t *table = builder->data + builder->table;
    const size_t len = builder->len - builder->table;

    memcpy(&header, table, sizeof(header));
    header.length = (uint32_t)len;
    header.checksum = 0;
    memcpy(table, &header, sizeof(header));
    header.checksum = checksum(table, len);
    memcpy(table, &header, sizeof(header));
}

/* Closes the open table and lists it in the XSDT. */
static void table_publish(struct builder *builder)
{
    table_close(builder);
    builder->entries[builder->entry_count++] = builder->base + builder->table;
}

static int build_dsdt(struct builder *builder, const struct board *board, gpa_t *ret)
{
    const struct table_header header = header_make("DSDT", 2);
    struct aml aml;
    int err = table_open(builder, &header, sizeof(header));

    if (err)
        return err;
    aml_init(&aml, builder->data + builder->len, builder->size - builder->len);
    dsdt_write(board, &aml);
    int len = aml_fini(&aml);
    if (len < 0)
        return len;
    builder->len += (size_t)len;
    table_close(builder);
    *ret = builder->base + builder->table;
    return 0;
}

static struct generic_address port(uint16_t address)
{
    return (struct generic_address){ SPACE_IO, 8, 0, ACCESS_BYTE, address };
}

static int build_fadt(struct builder *builder, const struct board *board, gpa_t dsdt)
{
    const struct fadt fadt = {
        .header = header_make("FACP", 6),
        .minor_version = 4,
        .rtc_century = RTC_CENTURY,
        .boot_architecture = BOOT_VGA_NOT_PRESENT,
        .flags = FADT_WBINVD | FADT_PROC_C1 | FADT_NO_FIXED_POWER_BUTTON |
                 FADT_NO_FIXED_SLEEP_BUTTON | FADT_NO_FIXED_RTC_WAKE | FADT_RESET_REGISTER |
                 FADT_HW_REDUCED,
        .reset_register = port(board->reset_port),
        .reset_value = RESET_VALUE,
        .x_dsdt = dsdt,
        .sleep_control = port(board->acpi_registers.address),
        .sleep_status = port((uint16_t)(board->acpi_registers.address + 1)),
        .hypervisor_vendor = "HUTCH",
    };
    int err = table_open(builder, &fadt, sizeof(fadt));

    if (!err)
        table_publish(builder);
    return err;
}

/* A CPU that both kinds of entry could describe gets the old one (ACPI 6.4, 5.2.12.12); 255 means
 * all of them there, for the number of the CPU as for the APIC's. */
static bool needs_x2apic(uint32_t uid, uint32_t apic_id)
{
    return uid > APIC_ID_MAX || apic_id > APIC_ID_MAX;
}

static int add_cpu(struct builder *builder, uint32_t uid, uint32_t apic_id)
{
    const struct madt_local_apic old = {
        MADT_LOCAL_APIC, sizeof(old), (uint8_t)uid, (uint8_t)apic_id, APIC_ENABLED,
    };
    const struct madt_x2apic x2apic = {
        MADT_X2APIC, sizeof(x2apic), 0, apic_id, APIC_ENABLED, uid,
    };

    return needs_x2apic(uid, apic_id) ? append(builder, &x2apic, sizeof(x2apic))
                                      : append(builder, &old, sizeof(old));
}

/* Every CPU's NMI pin is LINT1. */
static int add_nmi(struct builder *builder, bool has_x2apic)
{
    const struct madt_local_apic_nmi old = {
        MADT_LOCAL_APIC_NMI, sizeof(old), UINT8_MAX, 0, NMI_LINT,
    };
    const struct madt_x2apic_nmi x2apic = {
        MADT_X2APIC_NMI, sizeof(x2apic), 0, UINT32_MAX, NMI_LINT, { 0 },
    };
    int err = append(builder, &old, sizeof(old));

    if (!err && has_x2apic)
        err = append(builder, &x2apic, sizeof(x2apic));
    return err;
}

static int build_madt(struct builder *builder, const struct board *board)
{
    const struct madt madt = {
        .header = header_make("APIC", 5),
        .local_apic = (uint32_t)LAYOUT_LAPIC_BASE,
    };
    const struct madt_io_apic io_apic = {
        MADT_IO_APIC, sizeof(io_apic), 0, 0, (uint32_t)LAYOUT_IOAPIC_BASE, 0,
    };
    bool has_x2apic = false;
    int err = table_open(builder, &madt, sizeof(madt));

    for (uint32_t i = 0; !err && i < board->cpu_count; i++) {
        err = add_cpu(builder, i, board->cpu_ids[i]);
        has_x2apic |= needs_x2apic(i, board->cpu_ids[i]);
    }
    if (!err)
        err = append(builder, &io_apic, sizeof(io_apic));
    if (!err)
        err = add_nmi(builder, has_x2apic);
    if (!err)
        table_publish(builder);
    return err;
}

static int build_mcfg(struct builder *builder, const struct board *board)
{
    const struct mcfg mcfg = { .header = header_make("MCFG", 1), .base = board->ecam_base };
    int err = table_open(builder, &mcfg, sizeof(mcfg));

    if (!err)
        table_publish(builder);
    return err;
}

static int build_xsdt(struct builder *builder, gpa_t *ret)
{
    const struct table_header header = header_make("XSDT", 1);
    int err = table_open(builder, &header, sizeof(header));

    if (!err)
        err = append(builder, builder->entries, builder->entry_count * sizeof(builder->entries[0]));
    if (err)
        return err;
    table_close(builder);
    *ret = builder->base + builder->table;
    return 0;
}

static void fill_rsdp(struct builder *builder, gpa_t xsdt)
{
    struct rsdp rsdp = { .revision = 2, .length = sizeof(rsdp), .xsdt = xsdt };

    memcpy(rsdp.signature, "RSD PTR ", sizeof(rsdp.signature));
    memcpy(rsdp.oem_id, OEM_ID, sizeof(rsdp.oem_id));
    rsdp.checksum = checksum(&rsdp, offsetof(struct rsdp, length));
    rsdp.extended_checksum = checksum(&rsdp, sizeof(rsdp));
    memcpy(builder->data, &rsdp, sizeof(rsdp));
}

int acpi_build(const struct board *board, gpa_t base, uint8_t *buf, size_t size)
{
    struct builder builder = { .base = base, .size = size };
    const struct rsdp none = { .revision = 0 };
    gpa_t dsdt, xsdt;

    builder.data = buf;
    int err = append(&builder, &none, sizeof(none)); /* its place; filled in at the end */

    if (!err)
        err = build_dsdt(&builder, board, &dsdt);
    if (!err)
        err = build_fadt(&builder, board, dsdt);
    if (!err)
        err = build_madt(&builder, board);
    if (!err && board->has_pci)
        err = build_mcfg(&builder, board);
    if (!err)
        err = build_xsdt(&builder, &xsdt);
    if (err)
        return err;
    fill_rsdp(&builder, xsdt);
    return (int)builder.len;
}
