// SPDX-License-Identifier: Apache-2.0
/* A virtio device that notes what is asked of it, and its driver.
 * Included after cmocka.h. */
#pragma once

#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>

#include "devices/device.h"
#include "host/state.h"
#include "virtio/virtio_dev.h"
#include "virtio_driver.h"

static inline void give_back(struct virtio_dev *vdev, unsigned index, uint16_t head,
                             uint32_t written)
{
    virtio_dev_push(vdev, index, head, written);
    virtio_dev_flush_interrupt(vdev, index);
}

enum { QUEUES = 2, SIZE = 8, CONFIG_SIZE = 6, OFFERED = 5 };

enum {
    ACKNOWLEDGE = VIRTIO_CONFIG_S_ACKNOWLEDGE,
    DRIVER = VIRTIO_CONFIG_S_DRIVER,
    FEATURES_OK = VIRTIO_CONFIG_S_FEATURES_OK,
    DRIVER_OK = VIRTIO_CONFIG_S_DRIVER_OK,
    NEEDS_RESET = VIRTIO_CONFIG_S_NEEDS_RESET,
    FAILED = VIRTIO_CONFIG_S_FAILED,
};

#define EVENT_IDX (UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX)
#define INDIRECT (UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC)
#define VERSION_1 (UINT64_C(1) << VIRTIO_F_VERSION_1)

struct probe {
    struct virtio_dev vdev;
    uint8_t config[CONFIG_SIZE];
    unsigned notified[QUEUES], activations, resets, config_writes;
    int activate_error;
    bool echoes;    /* gives back what comes */
    bool refills;   /* shows the chain to itself again, as an endless driver would */
    bool ends_all;  /* its reset ends what is in flight */
    uint32_t extra; /* its own saved state */
    unsigned popped;
    struct driver *driver;
};

static inline struct probe *from_vdev(struct virtio_dev *vdev)
{
    return container_of(vdev, struct probe, vdev);
}

static inline void probe_config_read(struct virtio_dev *vdev, uint32_t offset, void *data,
                                     uint32_t len)
{
    assert_true(offset + len <= CONFIG_SIZE);
    memcpy(data, from_vdev(vdev)->config + offset, len);
}

static inline void probe_config_write(struct virtio_dev *vdev, uint32_t offset, const void *data,
                                      uint32_t len)
{
    assert_true(offset + len <= CONFIG_SIZE);
    memcpy(from_vdev(vdev)->config + offset, data, len);
    from_vdev(vdev)->config_writes++;
}

static inline int probe_activate(struct virtio_dev *vdev)
{
    from_vdev(vdev)->activations++;
    return from_vdev(vdev)->activate_error;
}

static inline void probe_queue_notify(struct virtio_dev *vdev, unsigned index)
{
    struct probe *probe = from_vdev(vdev);
    struct virtqueue_chain chain;

    assert_int_not_equal(pthread_mutex_trylock(&vdev->lock), 0);
    probe->notified[index]++;
    while (probe->echoes && virtio_dev_pop(vdev, index, &chain)) {
        probe->popped++;
        give_back(vdev, index, chain.head, 0);
        if (probe->refills)
            driver_publish(&probe->driver->queues[index], chain.head);
    }
}

static inline void probe_reset(struct virtio_dev *vdev)
{
    from_vdev(vdev)->resets++;
    while (from_vdev(vdev)->ends_all && vdev->requests_in_flight > 0)
        virtio_dev_end_request(vdev);
}

static inline int probe_save(struct virtio_dev *vdev, struct state_writer *out)
{
    return state_save(out, "probe", 1, &from_vdev(vdev)->extra, sizeof(uint32_t));
}

static inline int probe_load(struct virtio_dev *vdev, struct state_reader *in)
{
    return state_load(in, "probe", 1, &from_vdev(vdev)->extra, sizeof(uint32_t));
}

static inline void probe_destroy(struct virtio_dev *vdev)
{
    virtio_dev_fini(vdev);
    free(from_vdev(vdev));
}

static const struct virtio_dev_ops probe_ops = {
    .config_read = probe_config_read,
    .config_write = probe_config_write,
    .activate = probe_activate,
    .queue_notify = probe_queue_notify,
    .reset = probe_reset,
    .save = probe_save,
    .load = probe_load,
    .destroy = probe_destroy,
};

static inline struct probe *probe_create(struct driver *driver)
{
    const struct virtio_dev_params params = {
        .name = "probe",
        .device_id = VIRTIO_ID_RNG,
        .config_size = CONFIG_SIZE,
        .device_features = OFFERED,
        .queue_count = QUEUES,
        .queue_size = SIZE,
        .ops = &probe_ops,
        .mem = driver->mem,
        .loop = driver->loop,
    };
    struct probe *probe = calloc(1, sizeof(*probe));

    assert_non_null(probe);
    assert_int_equal(virtio_dev_init(&probe->vdev, &params), 0);
    probe->driver = driver;
    return probe;
}

struct fixture {
    struct driver driver;
    struct probe *probe;
    struct virtio_dev *vdev;
    gpa_t page;
};

static inline int setup(void **state)
{
    struct fixture *f = driver_setup(state, sizeof(*f));

    f->page = driver_alloc(&f->driver, 4096);
    f->probe = probe_create(&f->driver);
    f->vdev = &f->probe->vdev;
    driver_attach(&f->driver, f->vdev);
    return 0;
}

static inline void start(struct fixture *f)
{
    driver_start(&f->driver, f->vdev, 0);
}

static inline struct driver_queue *queue(struct fixture *f, unsigned index)
{
    return &f->driver.queues[index];
}

static inline uint16_t add_one(struct fixture *f, unsigned index)
{
    struct driver_buffer buffer = { f->page, 16, false };

    return driver_add(queue(f, index), &buffer, 1);
}

static inline uint8_t status(const struct fixture *f)
{
    return virtio_dev_read_status(f->vdev);
}

static inline void write_status(struct fixture *f, uint8_t value)
{
    virtio_dev_write_status(f->vdev, value);
}

static inline void save(struct fixture *f, struct state_writer *out)
{
    *out = (struct state_writer){ 0 };
    assert_int_equal(virtio_dev_save(f->vdev, out), 0);
}

static inline int load(struct fixture *f, const struct state_writer *saved)
{
    struct state_reader in = { saved->data, saved->len, 0 };

    return virtio_dev_load(f->vdev, &in);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, driver_teardown)
