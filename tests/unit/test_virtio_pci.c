// SPDX-License-Identifier: Apache-2.0
/* A virtio console as a PCI function, on a real bus behind a real host bridge; the driver's side
 * reaches it only by reads and writes on that bus. */
#include "virtio/transport.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>
#include <sys/eventfd.h>

#include "devices/bus.h"
#include "devices/pci/msix.h"
#include "host/state.h"
#include "virtio/console.h"
#include "virtio/virtio_pci.h"
#include "virtio_driver.h"

enum {
    ECAM = 0xe0000000,
    WINDOW = 0xc0000000,
    WINDOW_SIZE = 1 << 20,
    SLOT = 3,
    RECEIVE = 0,
    TRANSMIT = 1,
    QUEUES = 2,
    VECTORS = QUEUES + 1,
    RUNNING = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK |
              VIRTIO_CONFIG_S_DRIVER_OK,
};

struct connection {
    struct doorbell doorbell;
    int fd;
};

struct fixture {
    struct driver driver;
    struct bus *memory_bus, *port_bus;
    struct pci_host *host;
    struct pci_function *fn;
    struct virtio_dev *vdev;
    bool irq;
    struct msi_message messages[VECTORS];
    unsigned raised[VECTORS];
    struct connection doorbells[QUEUES];
    unsigned doorbell_count, connects;
    bool no_doorbells; /* the host refuses them */
    size_t sent;       /* bytes that the guest sent */
};

/* --- the machine around it --- */

static void set_irq(void *ctx, bool high)
{
    ((struct fixture *)ctx)->irq = high;
}

static int connect_vector(void *ctx, unsigned vector, const struct msi_message *message)
{
    struct fixture *f = ctx;

    assert_true(vector < VECTORS);
    f->messages[vector] = message ? *message : (struct msi_message){ 0 };
    return 0;
}

static void raise_vector(void *ctx, unsigned vector)
{
    struct fixture *f = ctx;

    assert_true(vector < VECTORS && f->messages[vector].address);
    f->raised[vector]++;
}

static int connect_doorbell(void *ctx, const struct doorbell *doorbell, int fd)
{
    struct fixture *f = ctx;

    if (f->no_doorbells)
        return -ENOSPC;
    assert_true(f->doorbell_count < QUEUES);
    f->doorbells[f->doorbell_count++] = (struct connection){ *doorbell, fd };
    f->connects++;
    return 0;
}

static void disconnect_doorbell(void *ctx, const struct doorbell *doorbell, int fd)
{
    struct fixture *f = ctx;

    for (unsigned i = 0; i < f->doorbell_count; i++) {
        const struct connection *connection = &f->doorbells[i];

        if (connection->doorbell.address == doorbell->address && connection->fd == fd) {
            f->doorbells[i] = f->doorbells[--f->doorbell_count];
            return;
        }
    }
    fail_msg("no doorbell at %#jx", (uintmax_t)doorbell->address);
}

static bool take_output(void *ctx, const uint8_t *data, size_t len)
{
    (void)data;
    ((struct fixture *)ctx)->sent += len;
    return true;
}

static void add_function(struct fixture *f)
{
    const struct console_params console = {
        .mem = f->driver.mem, .loop = f->driver.loop, .transmit = take_output, .ctx = f
    };
    struct virtio_pci_params params = {
        .msi = { connect_vector, raise_vector, f },
        .intx = { set_irq, f },
        .doorbells = { connect_doorbell, disconnect_doorbell, f },
    };
    const struct pci_host_params host = {
        .memory_bus = f->memory_bus,
        .port_bus = f->port_bus,
        .ecam_base = ECAM,
        .window32_base = WINDOW,
        .window32_size = WINDOW_SIZE,
    };

    assert_int_equal(pci_host_create(&host, &f->host), 0);
    assert_int_equal(console_create(&console, &f->vdev), 0);
    params.vdev = f->vdev;
    assert_int_equal(virtio_pci_create(&params, &f->fn), 0);
    assert_int_equal(pci_host_add(f->host, SLOT, f->fn), 0);
    f->driver.vdev = f->vdev;
}

static void remove_function(struct fixture *f)
{
    device_destroy(&f->fn->dev);
    pci_host_destroy(f->host);
    f->driver.vdev = NULL;
}

static uint32_t config_read(struct fixture *f, unsigned offset, unsigned size)
{
    uint64_t value;

    assert_true(bus_read(f->memory_bus, ECAM + (SLOT << 15) + offset, size, &value));
    return (uint32_t)value;
}

static void config_write(struct fixture *f, unsigned offset, unsigned size, uint32_t value)
{
    assert_true(bus_write(f->memory_bus, ECAM + (SLOT << 15) + offset, size, value));
}

static void set_decoding(struct fixture *f, bool on)
{
    config_write(f, PCI_COMMAND, 2, on ? PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER : 0);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    driver_init(&f->driver);
    assert_int_equal(bus_create(&f->memory_bus), 0);
    assert_int_equal(bus_create(&f->port_bus), 0);
    add_function(f);
    set_decoding(f, true);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    remove_function(f);
    assert_int_equal(f->doorbell_count, 0);
    bus_destroy(f->memory_bus);
    bus_destroy(f->port_bus);
    driver_fini(&f->driver);
    free(f);
    return 0;
}

/* --- a driver --- */

/* The configuration space offset of the capability of this type, or 0. */
static unsigned find_capability(struct fixture *f, uint8_t id, uint8_t type)
{
    unsigned offset = config_read(f, PCI_CAPABILITY_LIST, 1);

    for (; offset; offset = config_read(f, offset + PCI_CAP_LIST_NEXT, 1)) {
        if (config_read(f, offset, 1) != id)
            continue;
        if (id != PCI_CAP_ID_VNDR || config_read(f, offset + VIRTIO_PCI_CAP_CFG_TYPE, 1) == type)
            return offset;
    }
    return 0;
}

static uint32_t bar_address(struct fixture *f)
{
    return config_read(f, PCI_BASE_ADDRESS_0, 4) & ~0xfU;
}

/* Where a structure lies in guest memory. */
static uint64_t find_structure(struct fixture *f, uint8_t type)
{
    unsigned cap = find_capability(f, PCI_CAP_ID_VNDR, type);

    assert_int_not_equal(cap, 0);
    assert_int_equal(config_read(f, cap + VIRTIO_PCI_CAP_BAR, 1), 0);
    return bar_address(f) + config_read(f, cap + VIRTIO_PCI_CAP_OFFSET, 4);
}

static uint64_t read_at(struct fixture *f, uint64_t address, unsigned size)
{
    uint64_t value;

    assert_true(bus_read(f->memory_bus, address, size, &value));
    return value;
}

static void write_at(struct fixture *f, uint64_t address, unsigned size, uint64_t value)
{
    assert_true(bus_write(f->memory_bus, address, size, value));
}

static uint64_t common(struct fixture *f, unsigned offset, unsigned size)
{
    return read_at(f, find_structure(f, VIRTIO_PCI_CAP_COMMON_CFG) + offset, size);
}

static void set_common(struct fixture *f, unsigned offset, unsigned size, uint64_t value)
{
    write_at(f, find_structure(f, VIRTIO_PCI_CAP_COMMON_CFG) + offset, size, value);
}

static uint8_t read_isr(struct fixture *f)
{
    return (uint8_t)read_at(f, find_structure(f, VIRTIO_PCI_CAP_ISR_CFG), 1);
}

static void set_status(struct fixture *f, uint8_t status)
{
    set_common(f, VIRTIO_PCI_COMMON_STATUS, 1, status);
}

static void set_address(struct fixture *f, unsigned offset, gpa_t gpa)
{
    set_common(f, offset, 4, (uint32_t)gpa);
    set_common(f, offset + 4, 4, gpa >> 32);
}

static void set_up_queue(struct fixture *f, uint16_t index)
{
    struct driver_queue *queue = &f->driver.queues[index];

    set_common(f, VIRTIO_PCI_COMMON_Q_SELECT, 2, index);
    driver_make_queue(&f->driver, index, (uint16_t)common(f, VIRTIO_PCI_COMMON_Q_SIZE, 2));
    set_address(f, VIRTIO_PCI_COMMON_Q_DESCLO, queue->desc_gpa);
    set_address(f, VIRTIO_PCI_COMMON_Q_AVAILLO, queue->avail_gpa);
    set_address(f, VIRTIO_PCI_COMMON_Q_USEDLO, queue->used_gpa);
    set_common(f, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
}

static void negotiate(struct fixture *f)
{
    set_status(f, VIRTIO_CONFIG_S_ACKNOWLEDGE);
    set_status(f, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
    set_common(f, VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
    set_common(f, VIRTIO_PCI_COMMON_GF, 4, 1 << (VIRTIO_F_VERSION_1 - 32));
    set_status(f, RUNNING & ~VIRTIO_CONFIG_S_DRIVER_OK);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_STATUS, 1), RUNNING & ~VIRTIO_CONFIG_S_DRIVER_OK);
}

static void start(struct fixture *f)
{
    negotiate(f);
    set_up_queue(f, RECEIVE);
    set_up_queue(f, TRANSMIT);
    set_status(f, RUNNING);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_STATUS, 1), RUNNING);
}

static uint64_t doorbell_address(struct fixture *f, uint16_t index)
{
    unsigned cap = find_capability(f, PCI_CAP_ID_VNDR, VIRTIO_PCI_CAP_NOTIFY_CFG);

    set_common(f, VIRTIO_PCI_COMMON_Q_SELECT, 2, index);
    return find_structure(f, VIRTIO_PCI_CAP_NOTIFY_CFG) +
           common(f, VIRTIO_PCI_COMMON_Q_NOFF, 2) *
               config_read(f, cap + VIRTIO_PCI_NOTIFY_CAP_MULT, 4);
}

/* A guest's write to a doorbell, as KVM would treat it. */
static void ring(struct fixture *f, uint64_t address)
{
    for (unsigned i = 0; i < f->doorbell_count; i++) {
        if (f->doorbells[i].doorbell.address == address) {
            assert_int_equal(eventfd_write(f->doorbells[i].fd, 1), 0);
            return;
        }
    }
    write_at(f, address, 2, TRANSMIT);
}

/* Sends some bytes and waits until the device took them. */
static void send_output(struct fixture *f)
{
    struct driver_queue *queue = &f->driver.queues[TRANSMIT];
    struct driver_buffer buffer = { driver_alloc(&f->driver, 10), 10, false };
    size_t before = f->sent;

    driver_add(queue, &buffer, 1);
    ring(f, doorbell_address(f, TRANSMIT));
    driver_wait_used(queue, NULL, NULL);
    assert_int_equal(f->sent, before + 10);
}

static void enable_msix(struct fixture *f)
{
    unsigned cap = find_capability(f, PCI_CAP_ID_MSIX, 0);
    uint64_t table = bar_address(f) + (config_read(f, cap + PCI_MSIX_TABLE, 4) & ~7U);

    for (unsigned i = 0; i < VECTORS; i++) {
        write_at(f, table + i * MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_LOWER_ADDR, 4, 0xfee00000);
        write_at(f, table + i * MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_DATA, 4, 0x40 + i);
        write_at(f, table + i * MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_VECTOR_CTRL, 4, 0);
    }
    config_write(f, cap + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
}

static void set_queue_vector(struct fixture *f, uint16_t index, uint16_t vector)
{
    set_common(f, VIRTIO_PCI_COMMON_Q_SELECT, 2, index);
    set_common(f, VIRTIO_PCI_COMMON_Q_MSIX, 2, vector);
}

static uint16_t queue_vector(struct fixture *f, uint16_t index)
{
    set_common(f, VIRTIO_PCI_COMMON_Q_SELECT, 2, index);
    return (uint16_t)common(f, VIRTIO_PCI_COMMON_Q_MSIX, 2);
}

/* --- what it looks like --- */

static void is_a_modern_virtio_function(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(config_read(f, PCI_VENDOR_ID, 2), 0x1af4);
    assert_int_equal(config_read(f, PCI_DEVICE_ID, 2), 0x1040 + VIRTIO_ID_CONSOLE);
    assert_int_equal(config_read(f, PCI_REVISION_ID, 1), 1);
    assert_int_equal(config_read(f, PCI_CLASS_REVISION, 4) >> 8, 0x078000);
    assert_true(config_read(f, PCI_SUBSYSTEM_ID, 2) >= 0x40);
    assert_int_equal(config_read(f, PCI_INTERRUPT_PIN, 1), 1);
}

static void every_structure_has_a_capability_and_its_own_place(void **state)
{
    struct fixture *f = *state;
    const uint8_t types[] = { VIRTIO_PCI_CAP_COMMON_CFG, VIRTIO_PCI_CAP_NOTIFY_CFG,
                              VIRTIO_PCI_CAP_ISR_CFG, VIRTIO_PCI_CAP_DEVICE_CFG };
    const uint32_t lens[] = { sizeof(struct virtio_pci_common_cfg), QUEUES * 4, 1,
                              sizeof(struct virtio_console_config) };
    uint32_t end = 0;

    for (int i = 0; i < 4; i++) {
        unsigned cap = find_capability(f, PCI_CAP_ID_VNDR, types[i]);
        uint32_t offset = config_read(f, cap + VIRTIO_PCI_CAP_OFFSET, 4);

        assert_int_equal(config_read(f, cap + VIRTIO_PCI_CAP_LEN, 1),
                         types[i] == VIRTIO_PCI_CAP_NOTIFY_CFG ? 20 : 16);
        assert_int_equal(config_read(f, cap + VIRTIO_PCI_CAP_LENGTH, 4), lens[i]);
        for (int j = 0; j < i; j++) {
            unsigned other = find_capability(f, PCI_CAP_ID_VNDR, types[j]);
            uint32_t start = config_read(f, other + VIRTIO_PCI_CAP_OFFSET, 4);

            assert_true(offset + lens[i] <= start || offset >= start + lens[j]);
        }
        end = offset + lens[i] > end ? offset + lens[i] : end;
    }
    assert_true(end <= 0x2000);
    assert_int_not_equal(find_capability(f, PCI_CAP_ID_VNDR, VIRTIO_PCI_CAP_PCI_CFG), 0);
}

/* --- registers --- */

static void registers_take_only_accesses_of_their_size(void **state)
{
    struct fixture *f = *state;
    const unsigned offsets[] = { VIRTIO_PCI_COMMON_STATUS, VIRTIO_PCI_COMMON_NUMQ,
                                 VIRTIO_PCI_COMMON_Q_SIZE, VIRTIO_PCI_COMMON_DF };
    const unsigned sizes[] = { 1, 2, 2, 4 };

    set_status(f, VIRTIO_CONFIG_S_ACKNOWLEDGE);
    for (int i = 0; i < 4; i++) {
        for (unsigned size = 1; size <= 8; size *= 2) {
            if (size == sizes[i])
                assert_int_not_equal(common(f, offsets[i], size), 0);
            else
                assert_int_equal(common(f, offsets[i], size), 0);
        }
    }
    set_common(f, VIRTIO_PCI_COMMON_STATUS, 2, 0); /* no reset */
    set_common(f, VIRTIO_PCI_COMMON_NUMQ, 4, 0);   /* nor this, over the status */
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_STATUS, 1), VIRTIO_CONFIG_S_ACKNOWLEDGE);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_DF + 1, 1), 0);
    assert_int_equal(common(f, sizeof(struct virtio_pci_common_cfg), 4), 0);
    assert_int_equal(common(f, sizeof(struct virtio_pci_common_cfg) - 4, 8), 0);
}

static void features_are_shown_by_halves(void **state)
{
    struct fixture *f = *state;

    set_common(f, VIRTIO_PCI_COMMON_DFSELECT, 4, 1);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_DFSELECT, 4), 1);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_DF, 4), 1 << (VIRTIO_F_VERSION_1 - 32));
    set_common(f, VIRTIO_PCI_COMMON_DFSELECT, 4, 0);
    assert_true(common(f, VIRTIO_PCI_COMMON_DF, 4) & (1 << VIRTIO_CONSOLE_F_SIZE));
    set_common(f, VIRTIO_PCI_COMMON_DFSELECT, 4, 2);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_DF, 4), 0);
    negotiate(f);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_GFSELECT, 4), 1);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_GF, 4), 1 << (VIRTIO_F_VERSION_1 - 32));
}

static void a_queue_that_does_not_exist_has_no_size(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(common(f, VIRTIO_PCI_COMMON_NUMQ, 2), QUEUES);
    set_common(f, VIRTIO_PCI_COMMON_Q_SELECT, 2, QUEUES);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_Q_SELECT, 2), QUEUES);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_Q_SIZE, 2), 0);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
    set_common(f, VIRTIO_PCI_COMMON_Q_SELECT, 2, 0xffff);
    set_common(f, VIRTIO_PCI_COMMON_Q_MSIX, 2, 1);
    set_common(f, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_Q_DESCLO, 4), 0);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_Q_MSIX, 2), MSIX_NO_VECTOR);
}

static void addresses_are_two_independent_halves(void **state)
{
    struct fixture *f = *state;
    const unsigned offsets[] = { VIRTIO_PCI_COMMON_Q_DESCLO, VIRTIO_PCI_COMMON_Q_AVAILLO,
                                 VIRTIO_PCI_COMMON_Q_USEDLO };

    negotiate(f);
    for (unsigned i = 0; i < 3; i++) {
        set_common(f, offsets[i] + 4, 4, 0x11 + i);
        set_common(f, offsets[i], 4, 0xfffffff0 - i);
    }
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(common(f, offsets[i] + 4, 4), 0x11 + i);
        assert_int_equal(common(f, offsets[i], 4), 0xfffffff0 - i);
    }
    assert_int_equal(f->vdev->queues[0].state.avail, 0x12ffffffef);
    assert_int_equal(f->vdev->queues[1].state.avail, 0);
}

static void the_driver_may_choose_a_smaller_queue(void **state)
{
    struct fixture *f = *state;

    negotiate(f);
    set_common(f, VIRTIO_PCI_COMMON_Q_SELECT, 2, TRANSMIT);
    set_common(f, VIRTIO_PCI_COMMON_Q_SIZE, 2, 4);
    set_up_queue(f, TRANSMIT);
    set_status(f, RUNNING);

    assert_int_equal(f->driver.queues[TRANSMIT].size, 4);
    for (int i = 0; i < 10; i++)
        send_output(f);
}

static void configuration_space_takes_every_size(void **state)
{
    struct fixture *f = *state;
    uint64_t config = find_structure(f, VIRTIO_PCI_CAP_DEVICE_CFG);

    console_resize(f->vdev, 0x1234, 0x5678);
    assert_int_equal(read_at(f, config, 1), 0x34);
    assert_int_equal(read_at(f, config + 2, 2), 0x5678);
    assert_int_equal(read_at(f, config, 4), 0x56781234);
    assert_int_equal(read_at(f, config, 8), 0x56781234);
    assert_int_equal(read_at(f, config + 8, 8), 0);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_CFGGENERATION, 1), 1);
}

/* --- interrupts --- */

static void the_wire_is_high_until_the_isr_is_read(void **state)
{
    struct fixture *f = *state;

    start(f);
    assert_false(f->irq);
    send_output(f);
    assert_true(f->irq);
    console_resize(f->vdev, 1, 1);

    assert_int_equal(read_isr(f), 3);
    assert_false(f->irq);
    assert_int_equal(read_isr(f), 0);
}

static void with_msix_each_queue_has_its_vector(void **state)
{
    struct fixture *f = *state;

    enable_msix(f);
    start(f);
    set_common(f, VIRTIO_PCI_COMMON_MSIX, 2, 0);
    set_queue_vector(f, TRANSMIT, 2);
    send_output(f);
    assert_int_equal(f->raised[2], 1);
    assert_int_equal(f->messages[2].data, 0x42);
    console_resize(f->vdev, 1, 1);

    assert_int_equal(f->raised[0], 1);
    assert_int_equal(f->raised[1], 0);
    assert_false(f->irq);
    assert_int_equal(read_isr(f), 0);
}

static void without_a_vector_msix_sends_nothing(void **state)
{
    struct fixture *f = *state;

    enable_msix(f);
    start(f);
    send_output(f);
    console_resize(f->vdev, 1, 1);

    assert_int_equal(f->raised[0] + f->raised[1] + f->raised[2], 0);
    assert_false(f->irq);
}

static void a_vector_that_does_not_exist_reads_back_as_none(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(common(f, VIRTIO_PCI_COMMON_MSIX, 2), MSIX_NO_VECTOR);
    assert_int_equal(queue_vector(f, 0), MSIX_NO_VECTOR);
    set_queue_vector(f, 0, VECTORS - 1);
    assert_int_equal(queue_vector(f, 0), VECTORS - 1);
    assert_int_equal(queue_vector(f, 1), MSIX_NO_VECTOR);
    set_queue_vector(f, 0, VECTORS);
    assert_int_equal(queue_vector(f, 0), MSIX_NO_VECTOR);
    set_common(f, VIRTIO_PCI_COMMON_MSIX, 2, VECTORS);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_MSIX, 2), MSIX_NO_VECTOR);
}

static void the_wire_goes_down_when_msix_is_enabled(void **state)
{
    struct fixture *f = *state;

    start(f);
    send_output(f);
    assert_true(f->irq);
    enable_msix(f);

    assert_false(f->irq);
}

static void table_and_pending_bits_are_in_the_bar(void **state)
{
    struct fixture *f = *state;
    unsigned cap = find_capability(f, PCI_CAP_ID_MSIX, 0);
    uint64_t pba = bar_address(f) + (config_read(f, cap + PCI_MSIX_PBA, 4) & ~7U);

    enable_msix(f);
    config_write(f, cap + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
    start(f);
    set_queue_vector(f, TRANSMIT, 1);
    send_output(f);
    assert_int_equal(read_at(f, pba, 8), 2);
    assert_int_equal(f->raised[1], 0);
    config_write(f, cap + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
    assert_int_equal(f->raised[1], 1);
    assert_int_equal(read_at(f, pba, 8), 0);
}

/* --- doorbells --- */

static void doorbells_are_connected_when_the_device_runs(void **state)
{
    struct fixture *f = *state;

    negotiate(f);
    set_up_queue(f, TRANSMIT);
    assert_int_equal(f->doorbell_count, 0);
    set_status(f, RUNNING);

    assert_int_equal(f->doorbell_count, 1); /* the other queue is not used */
    assert_int_equal(f->doorbells[0].doorbell.address, doorbell_address(f, TRANSMIT));
    assert_int_equal(f->doorbells[0].doorbell.size, 0); /* of any size and value */
    assert_false(f->doorbells[0].doorbell.has_value);
    send_output(f);
}

static void doorbells_follow_the_bar(void **state)
{
    struct fixture *f = *state;

    start(f);
    config_write(f, PCI_BASE_ADDRESS_0, 4, WINDOW + WINDOW_SIZE / 2);
    assert_int_equal(f->doorbell_count, QUEUES);
    for (unsigned i = 0; i < QUEUES; i++)
        assert_true(f->doorbells[i].doorbell.address >= WINDOW + WINDOW_SIZE / 2);
    send_output(f);

    set_decoding(f, false);
    assert_int_equal(f->doorbell_count, 0);
    set_decoding(f, true);
    assert_int_equal(f->doorbell_count, QUEUES);
    send_output(f);
}

static void doorbells_stay_connected_over_a_reset(void **state)
{
    struct fixture *f = *state;

    start(f);
    set_status(f, 0);
    start(f);

    assert_int_equal(f->connects, QUEUES);
    send_output(f);
}

static void a_doorbell_also_works_as_an_exit(void **state)
{
    struct fixture *f = *state;

    f->no_doorbells = true;
    start(f);
    assert_int_equal(f->doorbell_count, 0);

    send_output(f);
    struct driver_buffer buffer = { driver_alloc(&f->driver, 10), 10, false };
    driver_add(&f->driver.queues[TRANSMIT], &buffer, 1);
    write_at(f, doorbell_address(f, TRANSMIT) + 1, 1, 0);
    write_at(f, doorbell_address(f, TRANSMIT) + 4, 2, QUEUES); /* of no queue */
    driver_settle(&f->driver);
    assert_false(driver_take_used(&f->driver.queues[TRANSMIT], NULL, NULL));
}

/* --- the window in configuration space --- */

static void aim(struct fixture *f, uint8_t bar, uint32_t offset, uint32_t len)
{
    unsigned cap = find_capability(f, PCI_CAP_ID_VNDR, VIRTIO_PCI_CAP_PCI_CFG);

    config_write(f, cap + VIRTIO_PCI_CAP_BAR, 1, bar);
    config_write(f, cap + VIRTIO_PCI_CAP_OFFSET, 4, offset);
    config_write(f, cap + VIRTIO_PCI_CAP_LENGTH, 4, len);
}

static unsigned window_data(struct fixture *f)
{
    return find_capability(f, PCI_CAP_ID_VNDR, VIRTIO_PCI_CAP_PCI_CFG) +
           (unsigned)offsetof(struct virtio_pci_cfg_cap, pci_cfg_data);
}

static void the_window_reaches_the_bar_even_if_it_does_not_decode(void **state)
{
    struct fixture *f = *state;

    set_decoding(f, false);
    aim(f, 0, VIRTIO_PCI_COMMON_STATUS, 1);
    config_write(f, window_data(f), 1, VIRTIO_CONFIG_S_ACKNOWLEDGE);
    assert_int_equal(virtio_dev_read_status(f->vdev), VIRTIO_CONFIG_S_ACKNOWLEDGE);
    assert_int_equal(config_read(f, window_data(f), 1), VIRTIO_CONFIG_S_ACKNOWLEDGE);
    aim(f, 0, VIRTIO_PCI_COMMON_NUMQ, 2);
    assert_int_equal(config_read(f, window_data(f), 2), QUEUES);
    aim(f, 0, VIRTIO_PCI_COMMON_DF, 4);
    assert_int_not_equal(config_read(f, window_data(f), 4), 0);
}

static void a_window_that_is_aimed_at_nothing_does_nothing(void **state)
{
    struct fixture *f = *state;
    const struct {
        uint8_t bar;
        uint32_t offset, len;
    } bad[] = { { 1, VIRTIO_PCI_COMMON_STATUS, 1 },
                { 0, VIRTIO_PCI_COMMON_STATUS, 0 },
                { 0, VIRTIO_PCI_COMMON_STATUS, 3 },
                { 0, VIRTIO_PCI_COMMON_STATUS, 8 },
                { 0, VIRTIO_PCI_COMMON_STATUS - 2, 4 },
                { 0, 0x4000, 1 },
                { 0, UINT32_MAX, 1 },
                { 0, UINT32_MAX - 3, 4 },
                { 0, VIRTIO_PCI_COMMON_STATUS, 1U << 31 } };

    set_status(f, VIRTIO_CONFIG_S_ACKNOWLEDGE);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        aim(f, bad[i].bar, bad[i].offset, bad[i].len);
        config_write(f, window_data(f), 4, 0);
        assert_int_equal(config_read(f, window_data(f), 4), 0);
    }
    assert_int_equal(virtio_dev_read_status(f->vdev), VIRTIO_CONFIG_S_ACKNOWLEDGE);
}

/* --- reset and saved state --- */

static void a_reset_takes_vectors_and_interrupts_away(void **state)
{
    struct fixture *f = *state;

    start(f);
    set_common(f, VIRTIO_PCI_COMMON_MSIX, 2, 1);
    set_queue_vector(f, 1, 2);
    send_output(f);
    assert_true(f->irq);
    set_status(f, 0);

    assert_int_equal(common(f, VIRTIO_PCI_COMMON_STATUS, 1), 0);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_MSIX, 2), MSIX_NO_VECTOR);
    assert_int_equal(queue_vector(f, 1), MSIX_NO_VECTOR);
    assert_false(f->irq);
    assert_int_equal(read_isr(f), 0);
    start(f);
    send_output(f);
}

static void power_on_takes_everything_away(void **state)
{
    struct fixture *f = *state;

    enable_msix(f);
    start(f);
    uint32_t address = bar_address(f);
    config_write(f, PCI_BASE_ADDRESS_0, 4, WINDOW + WINDOW_SIZE / 2);
    f->fn->dev.ops->reset(&f->fn->dev);

    assert_int_equal(f->doorbell_count, 0);
    assert_int_equal(bar_address(f), address);
    assert_int_equal(config_read(f, PCI_COMMAND, 2), 0);
    set_decoding(f, true);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_STATUS, 1), 0);
    start(f);
    send_output(f);
    assert_true(f->irq); /* not by MSI-X any more */
}

static void save(struct fixture *f, struct state_writer *out)
{
    *out = (struct state_writer){ 0 };
    assert_int_equal(f->fn->dev.ops->save(&f->fn->dev, out), 0);
}

static int load(struct fixture *f, const struct state_writer *saved)
{
    struct state_reader in = { saved->data, saved->len, 0 };

    return f->fn->dev.ops->load(&f->fn->dev, &in);
}

static void replace(struct fixture *f)
{
    remove_function(f);
    assert_int_equal(f->doorbell_count, 0);
    memset(f->messages, 0, sizeof(f->messages));
    memset(f->raised, 0, sizeof(f->raised));
    f->irq = false;
    add_function(f);
}

static void a_restored_function_goes_on_where_it_was(void **state)
{
    struct fixture *f = *state;
    struct state_writer saved;

    enable_msix(f);
    start(f);
    set_queue_vector(f, TRANSMIT, 2);
    config_write(f, PCI_BASE_ADDRESS_0, 4, WINDOW + WINDOW_SIZE / 2);
    send_output(f);
    save(f, &saved);
    replace(f);
    assert_int_equal(load(f, &saved), 0);

    assert_int_equal(bar_address(f), WINDOW + WINDOW_SIZE / 2);
    assert_int_equal(f->doorbell_count, QUEUES);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_STATUS, 1), RUNNING);
    send_output(f);
    assert_int_equal(f->raised[2], 1);
    state_writer_fini(&saved);
}

static void a_pending_wire_survives(void **state)
{
    struct fixture *f = *state;
    struct state_writer saved;

    start(f);
    send_output(f);
    save(f, &saved);
    replace(f);
    assert_int_equal(load(f, &saved), 0);

    assert_true(f->irq);
    assert_int_equal(read_isr(f), 1);
    assert_false(f->irq);
    state_writer_fini(&saved);
}

static void refuses_a_state_that_is_cut_off(void **state)
{
    struct fixture *f = *state;
    struct state_writer saved;

    start(f);
    save(f, &saved);
    for (size_t len = 0; len < saved.len; len += 7) {
        struct state_reader in = { saved.data, len, 0 };

        f->fn->dev.ops->reset(&f->fn->dev);
        assert_int_equal(f->fn->dev.ops->load(&f->fn->dev, &in), -EBADMSG);
    }
    state_writer_fini(&saved);
}

/* A saved function with @vector for its configuration changes, in an ISR of @isr. */
static int load_with(struct fixture *f, uint16_t vector, uint8_t isr)
{
    struct virtio_pci *pci = (struct virtio_pci *)f->fn;
    struct state_writer saved;

    pci->state.config_vector = vector;
    pci->state.isr = isr;
    save(f, &saved);
    replace(f);
    int err = load(f, &saved);
    state_writer_fini(&saved);
    return err;
}

static void refuses_vectors_and_interrupts_that_do_not_exist(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(load_with(f, VECTORS - 1, 3), 0);
    assert_int_equal(load_with(f, VECTORS, 0), -EBADMSG);
    f->fn->dev.ops->reset(&f->fn->dev);
    assert_int_equal(load_with(f, 0, 4), -EBADMSG);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(is_a_modern_virtio_function),
        TEST(every_structure_has_a_capability_and_its_own_place),
        TEST(registers_take_only_accesses_of_their_size),
        TEST(features_are_shown_by_halves),
        TEST(a_queue_that_does_not_exist_has_no_size),
        TEST(addresses_are_two_independent_halves),
        TEST(the_driver_may_choose_a_smaller_queue),
        TEST(configuration_space_takes_every_size),
        TEST(the_wire_is_high_until_the_isr_is_read),
        TEST(with_msix_each_queue_has_its_vector),
        TEST(without_a_vector_msix_sends_nothing),
        TEST(a_vector_that_does_not_exist_reads_back_as_none),
        TEST(the_wire_goes_down_when_msix_is_enabled),
        TEST(table_and_pending_bits_are_in_the_bar),
        TEST(doorbells_are_connected_when_the_device_runs),
        TEST(doorbells_follow_the_bar),
        TEST(doorbells_stay_connected_over_a_reset),
        TEST(a_doorbell_also_works_as_an_exit),
        TEST(the_window_reaches_the_bar_even_if_it_does_not_decode),
        TEST(a_window_that_is_aimed_at_nothing_does_nothing),
        TEST(a_reset_takes_vectors_and_interrupts_away),
        TEST(power_on_takes_everything_away),
        TEST(a_restored_function_goes_on_where_it_was),
        TEST(a_pending_wire_survives),
        TEST(refuses_a_state_that_is_cut_off),
        TEST(refuses_vectors_and_interrupts_that_do_not_exist),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
