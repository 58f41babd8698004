// SPDX-License-Identifier: Apache-2.0
/* A small virtio driver (virtio 1.2): one request at a time, by PCI or by memory-mapped registers.
 *
 * Nothing is hidden: abusive guests write into rings and registers themselves. */
#pragma once

#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>

#include "pci.h"

enum { RING_SIZE = 16 };

struct ring {
    struct vring_desc desc[RING_SIZE];
    struct {
        uint16_t flags, idx, ring[RING_SIZE], used_event;
    } avail;
    struct {
        uint16_t flags, idx;
        struct vring_used_elem ring[RING_SIZE];
        uint16_t avail_event;
    } used __attribute__((aligned(4)));
    uint16_t seen; /* used entries that ring_wait() has returned */
} __attribute__((aligned(16)));

struct virtio {
    bool is_mmio;
    unsigned slot;   /* PCI */
    uint64_t bar;    /* where BAR 0 is */
    uint64_t common; /* PCI: the common configuration; MMIO: all registers */
    uint64_t notify; /* the doorbells */
    uint64_t isr, config;
    uint32_t notify_multiplier;
    unsigned msix;       /* PCI: the capability's offset */
    uint64_t msix_table; /* PCI */
};

#define FEATURE(bit) (UINT64_C(1) << (bit))

/* Finds the @nth device of a kind and switches its BARs on. */
bool virtio_find(struct virtio *dev, unsigned device_id, unsigned nth);
/* Reads again where a PCI device's registers are. */
void virtio_locate(struct virtio *dev);

uint8_t virtio_status(const struct virtio *dev);
void virtio_set_status(const struct virtio *dev, uint8_t status);
/* Resets the device. Returns whether it said that it did. */
bool virtio_reset(const struct virtio *dev);

uint64_t virtio_features(const struct virtio *dev);
void virtio_write_features(const struct virtio *dev, uint64_t features);
/* Resets, and settles on those of @features that there are, with VERSION_1. Returns whether the
 * device agreed. */
bool virtio_negotiate(const struct virtio *dev, uint64_t features);

/* Sets a queue up, with an empty ring. */
void virtio_set_queue(const struct virtio *dev, uint16_t index, struct ring *ring);
/* The same at any addresses; does not enable it. */
void virtio_place_queue(const struct virtio *dev, uint16_t index, uint16_t size, uint64_t desc,
                        uint64_t avail, uint64_t used);
void virtio_enable_queue(const struct virtio *dev, uint16_t index);
/* The device may run. */
void virtio_start(const struct virtio *dev);
/* All of the above: a device with queue 0 on @ring that runs. */
bool virtio_bring_up(const struct virtio *dev, uint64_t features, struct ring *ring);

void virtio_notify(const struct virtio *dev, uint16_t index);

/* Lets MSI-X vector @vector (of the table, open) send @message to the first CPU. */
void virtio_set_vector(const struct virtio *dev, unsigned vector, uint8_t message);
/* Switches MSI-X on and gives queue @index the vector. Returns whether it took it. */
bool virtio_use_vector(const struct virtio *dev, uint16_t index, uint16_t vector);

void ring_init(struct ring *ring);
void ring_set(struct ring *ring, unsigned index, const void *buffer, uint32_t len, uint16_t flags,
              uint16_t next);
/* Makes the chain that starts at @head available. */
void ring_offer(struct ring *ring, uint16_t head);
/* Waits for one used entry. */
bool ring_wait(struct ring *ring);

/* One request to a disk, in three descriptors. Returns its VIRTIO_BLK_S_*, or -1 if no answer
 * came. */
int blk_request(const struct virtio *dev, struct ring *ring, uint32_t type, uint64_t sector,
                void *data, uint32_t len);
