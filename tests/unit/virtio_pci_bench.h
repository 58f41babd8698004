// SPDX-License-Identifier: Apache-2.0
/* A virtio console as a PCI function, on a real bus behind a real host bridge; the driver's side
 * reaches it only by reads and writes on that bus.
 * Included after cmocka.h. */
#pragma once

#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "devices/bus.h"
#include "devices/pci/msix.h"
#include "virtio/console.h"
#include "virtio/transport.h"
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

static inline void set_irq(void *ctx, bool high)
{
    ((struct fixture *)ctx)->irq = high;
}

static inline int connect_vector(void *ctx, unsigned vector, const struct msi_message *message)
{
    struct fixture *f = ctx;

    assert_true(vector < VECTORS);
    f->messages[vector] = message ? *message : (struct msi_message){ 0 };
    return 0;
}

static inline void raise_vector(void *ctx, unsigned vector)
{
    struct fixture *f = ctx;

    assert_true(vector < VECTORS && f->messages[vector].address);
    f->raised[vector]++;
}

static inline int connect_doorbell(void *ctx, const struct doorbell *doorbell, int fd)
{
    struct fixture *f = ctx;

    if (f->no_doorbells)
        return -ENOSPC;
    assert_true(f->doorbell_count < QUEUES);
    f->doorbells[f->doorbell_count++] = (struct connection){ *doorbell, fd };
    f->connects++;
    return 0;
}

static inline void disconnect_doorbell(void *ctx, const struct doorbell *doorbell, int fd)
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

static inline bool take_output(void *ctx, const uint8_t *data, size_t len)
{
    (void)data;
    ((struct fixture *)ctx)->sent += len;
    return true;
}

static inline void add_function(struct fixture *f)
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

static inline void remove_function(struct fixture *f)
{
    device_destroy(&f->fn->dev);
    pci_host_destroy(f->host);
    f->driver.vdev = NULL;
}

static inline uint32_t config_read(struct fixture *f, unsigned offset, unsigned size)
{
    uint64_t value;

    assert_true(bus_read(f->memory_bus, ECAM + (SLOT << 15) + offset, size, &value));
    return (uint32_t)value;
}

static inline void config_write(struct fixture *f, unsigned offset, unsigned size, uint32_t value)
{
    assert_true(bus_write(f->memory_bus, ECAM + (SLOT << 15) + offset, size, value));
}

static inline void set_decoding(struct fixture *f, bool on)
{
    config_write(f, PCI_COMMAND, 2, on ? PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER : 0);
}

static inline int setup(void **state)
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

static inline int teardown(void **state)
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

/* The configuration space offset of the capability of this type, or 0. */
static inline unsigned find_capability(struct fixture *f, uint8_t id, uint8_t type)
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

static inline uint32_t bar_address(struct fixture *f)
{
    return config_read(f, PCI_BASE_ADDRESS_0, 4) & ~0xfU;
}

/* Where a structure lies in guest memory. */
static inline uint64_t find_structure(struct fixture *f, uint8_t type)
{
    unsigned cap = find_capability(f, PCI_CAP_ID_VNDR, type);

    assert_int_not_equal(cap, 0);
    assert_int_equal(config_read(f, cap + VIRTIO_PCI_CAP_BAR, 1), 0);
    return bar_address(f) + config_read(f, cap + VIRTIO_PCI_CAP_OFFSET, 4);
}

static inline uint64_t read_at(struct fixture *f, uint64_t address, unsigned size)
{
    uint64_t value;

    assert_true(bus_read(f->memory_bus, address, size, &value));
    return value;
}

static inline void write_at(struct fixture *f, uint64_t address, unsigned size, uint64_t value)
{
    assert_true(bus_write(f->memory_bus, address, size, value));
}

static inline uint64_t common(struct fixture *f, unsigned offset, unsigned size)
{
    return read_at(f, find_structure(f, VIRTIO_PCI_CAP_COMMON_CFG) + offset, size);
}

static inline void set_common(struct fixture *f, unsigned offset, unsigned size, uint64_t value)
{
    write_at(f, find_structure(f, VIRTIO_PCI_CAP_COMMON_CFG) + offset, size, value);
}

static inline uint8_t read_isr(struct fixture *f)
{
    return (uint8_t)read_at(f, find_structure(f, VIRTIO_PCI_CAP_ISR_CFG), 1);
}

static inline void set_status(struct fixture *f, uint8_t status)
{
    set_common(f, VIRTIO_PCI_COMMON_STATUS, 1, status);
}

static inline void set_address(struct fixture *f, unsigned offset, gpa_t gpa)
{
    set_common(f, offset, 4, (uint32_t)gpa);
    set_common(f, offset + 4, 4, gpa >> 32);
}

static inline void set_up_queue(struct fixture *f, uint16_t index)
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

static inline void negotiate(struct fixture *f)
{
    set_status(f, VIRTIO_CONFIG_S_ACKNOWLEDGE);
    set_status(f, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
    set_common(f, VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
    set_common(f, VIRTIO_PCI_COMMON_GF, 4, 1 << (VIRTIO_F_VERSION_1 - 32));
    set_status(f, RUNNING & ~VIRTIO_CONFIG_S_DRIVER_OK);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_STATUS, 1), RUNNING & ~VIRTIO_CONFIG_S_DRIVER_OK);
}

static inline void start(struct fixture *f)
{
    negotiate(f);
    set_up_queue(f, RECEIVE);
    set_up_queue(f, TRANSMIT);
    set_status(f, RUNNING);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_STATUS, 1), RUNNING);
}

static inline uint64_t doorbell_address(struct fixture *f, uint16_t index)
{
    unsigned cap = find_capability(f, PCI_CAP_ID_VNDR, VIRTIO_PCI_CAP_NOTIFY_CFG);

    set_common(f, VIRTIO_PCI_COMMON_Q_SELECT, 2, index);
    return find_structure(f, VIRTIO_PCI_CAP_NOTIFY_CFG) +
           common(f, VIRTIO_PCI_COMMON_Q_NOFF, 2) *
               config_read(f, cap + VIRTIO_PCI_NOTIFY_CAP_MULT, 4);
}

/* A guest's write to a doorbell, as KVM would treat it. */
static inline void ring(struct fixture *f, uint64_t address)
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
static inline void send_output(struct fixture *f)
{
    struct driver_queue *queue = &f->driver.queues[TRANSMIT];
    struct driver_buffer buffer = { driver_alloc(&f->driver, 10), 10, false };
    size_t before = f->sent;

    driver_add(queue, &buffer, 1);
    ring(f, doorbell_address(f, TRANSMIT));
    driver_wait_used(queue, NULL, NULL);
    assert_int_equal(f->sent, before + 10);
}

static inline void enable_msix(struct fixture *f)
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

static inline void set_queue_vector(struct fixture *f, uint16_t index, uint16_t vector)
{
    set_common(f, VIRTIO_PCI_COMMON_Q_SELECT, 2, index);
    set_common(f, VIRTIO_PCI_COMMON_Q_MSIX, 2, vector);
}

static inline uint16_t queue_vector(struct fixture *f, uint16_t index)
{
    set_common(f, VIRTIO_PCI_COMMON_Q_SELECT, 2, index);
    return (uint16_t)common(f, VIRTIO_PCI_COMMON_Q_MSIX, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
