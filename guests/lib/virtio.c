// SPDX-License-Identifier: Apache-2.0
/* A virtio driver that does one thing after the other. Each register has two addresses, one by PCI
 * and one by virtio-mmio; all else is the same. */
#include "virtio.h"

#include <linux/virtio_mmio.h>
#include <linux/virtio_pci.h>

#define MMIO_BASE UINT64_C(0xfea00000)
enum { MMIO_STRIDE = 0x1000, MMIO_SLOTS = 14 };
enum { MMIO_MAGIC = 0x74726976, VENDOR_ID = 0x1af4, DEVICE_ID_BASE = 0x1040 };

static bool find_on_pci(struct virtio *dev, unsigned device_id, unsigned nth)
{
    for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
        if (pci_read16(slot, PCI_VENDOR_ID) != VENDOR_ID ||
            pci_read16(slot, PCI_DEVICE_ID) != DEVICE_ID_BASE + device_id || nth--)
            continue;
        *dev = (struct virtio){ .slot = slot };
        pci_decode(slot, true);
        virtio_locate(dev);
        return true;
    }
    return false;
}

static bool find_on_mmio(struct virtio *dev, unsigned device_id, unsigned nth)
{
    for (unsigned slot = 0; slot < MMIO_SLOTS; slot++) {
        uint64_t base = MMIO_BASE + slot * MMIO_STRIDE;

        if (read32(base + VIRTIO_MMIO_MAGIC_VALUE) != MMIO_MAGIC ||
            read32(base + VIRTIO_MMIO_DEVICE_ID) != device_id || nth--)
            continue;
        *dev = (struct virtio){ .is_mmio = true,
                                .common = base,
                                .notify = base + VIRTIO_MMIO_QUEUE_NOTIFY,
                                .isr = base + VIRTIO_MMIO_INTERRUPT_STATUS,
                                .config = base + VIRTIO_MMIO_CONFIG };
        return true;
    }
    return false;
}

bool virtio_find(struct virtio *dev, unsigned device_id, unsigned nth)
{
    return find_on_pci(dev, device_id, nth) || find_on_mmio(dev, device_id, nth);
}

void virtio_locate(struct virtio *dev)
{
    unsigned at = 0;

    dev->bar = pci_bar(dev->slot, 0);
    while ((at = pci_find_capability(dev->slot, PCI_CAP_ID_VNDR, at))) {
        uint64_t place = dev->bar + pci_read32(dev->slot, at + VIRTIO_PCI_CAP_OFFSET);

        switch (pci_read8(dev->slot, at + VIRTIO_PCI_CAP_CFG_TYPE)) {
        case VIRTIO_PCI_CAP_COMMON_CFG:
            dev->common = place;
            break;
        case VIRTIO_PCI_CAP_NOTIFY_CFG:
            dev->notify = place;
            dev->notify_multiplier = pci_read32(dev->slot, at + VIRTIO_PCI_NOTIFY_CAP_MULT);
            break;
        case VIRTIO_PCI_CAP_ISR_CFG:
            dev->isr = place;
            break;
        case VIRTIO_PCI_CAP_DEVICE_CFG:
            dev->config = place;
            break;
        }
    }
    dev->msix = pci_find_capability(dev->slot, PCI_CAP_ID_MSIX, 0);
    dev->msix_table = dev->bar + (pci_read32(dev->slot, dev->msix + PCI_MSIX_TABLE) & ~7u);
}

uint8_t virtio_status(const struct virtio *dev)
{
    return dev->is_mmio ? (uint8_t)read32(dev->common + VIRTIO_MMIO_STATUS)
                        : read8(dev->common + VIRTIO_PCI_COMMON_STATUS);
}

void virtio_set_status(const struct virtio *dev, uint8_t status)
{
    if (dev->is_mmio)
        write32(dev->common + VIRTIO_MMIO_STATUS, status);
    else
        write8(dev->common + VIRTIO_PCI_COMMON_STATUS, status);
}

bool virtio_reset(const struct virtio *dev)
{
    virtio_set_status(dev, 0);
    return wait_until(virtio_status(dev) == 0);
}

static uint32_t features_half(const struct virtio *dev, uint32_t half)
{
    if (dev->is_mmio) {
        write32(dev->common + VIRTIO_MMIO_DEVICE_FEATURES_SEL, half);
        return read32(dev->common + VIRTIO_MMIO_DEVICE_FEATURES);
    }
    write32(dev->common + VIRTIO_PCI_COMMON_DFSELECT, half);
    return read32(dev->common + VIRTIO_PCI_COMMON_DF);
}

uint64_t virtio_features(const struct virtio *dev)
{
    return features_half(dev, 0) | (uint64_t)features_half(dev, 1) << 32;
}

void virtio_write_features(const struct virtio *dev, uint64_t features)
{
    unsigned select = dev->is_mmio ? VIRTIO_MMIO_DRIVER_FEATURES_SEL : VIRTIO_PCI_COMMON_GFSELECT;
    unsigned value = dev->is_mmio ? VIRTIO_MMIO_DRIVER_FEATURES : VIRTIO_PCI_COMMON_GF;

    for (unsigned half = 0; half < 2; half++) {
        write32(dev->common + select, half);
        write32(dev->common + value, (uint32_t)(features >> 32 * half));
    }
}

bool virtio_negotiate(const struct virtio *dev, uint64_t features)
{
    uint8_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE;

    if (!virtio_reset(dev))
        return false;
    virtio_set_status(dev, status);
    virtio_set_status(dev, status |= VIRTIO_CONFIG_S_DRIVER);
    virtio_write_features(dev, (virtio_features(dev) & features) | FEATURE(VIRTIO_F_VERSION_1));
    virtio_set_status(dev, status |= VIRTIO_CONFIG_S_FEATURES_OK);
    return virtio_status(dev) == status;
}

static void write_address(const struct virtio *dev, unsigned mmio_low, unsigned pci_low,
                          uint64_t address)
{
    uint64_t at = dev->common + (dev->is_mmio ? mmio_low : pci_low);

    write32(at, (uint32_t)address);
    write32(at + 4, (uint32_t)(address >> 32));
}

void virtio_place_queue(const struct virtio *dev, uint16_t index, uint16_t size, uint64_t desc,
                        uint64_t avail, uint64_t used)
{
    if (dev->is_mmio) {
        write32(dev->common + VIRTIO_MMIO_QUEUE_SEL, index);
        write32(dev->common + VIRTIO_MMIO_QUEUE_NUM, size);
    } else {
        write16(dev->common + VIRTIO_PCI_COMMON_Q_SELECT, index);
        write16(dev->common + VIRTIO_PCI_COMMON_Q_SIZE, size);
    }
    write_address(dev, VIRTIO_MMIO_QUEUE_DESC_LOW, VIRTIO_PCI_COMMON_Q_DESCLO, desc);
    write_address(dev, VIRTIO_MMIO_QUEUE_AVAIL_LOW, VIRTIO_PCI_COMMON_Q_AVAILLO, avail);
    write_address(dev, VIRTIO_MMIO_QUEUE_USED_LOW, VIRTIO_PCI_COMMON_Q_USEDLO, used);
}

void virtio_enable_queue(const struct virtio *dev, uint16_t index)
{
    if (dev->is_mmio) {
        write32(dev->common + VIRTIO_MMIO_QUEUE_SEL, index);
        write32(dev->common + VIRTIO_MMIO_QUEUE_READY, 1);
    } else {
        write16(dev->common + VIRTIO_PCI_COMMON_Q_SELECT, index);
        write16(dev->common + VIRTIO_PCI_COMMON_Q_ENABLE, 1);
    }
}

void virtio_set_queue(const struct virtio *dev, uint16_t index, struct ring *ring)
{
    ring_init(ring);
    virtio_place_queue(dev, index, RING_SIZE, (uint64_t)ring->desc, (uint64_t)&ring->avail,
                       (uint64_t)&ring->used);
    virtio_enable_queue(dev, index);
}

void virtio_start(const struct virtio *dev)
{
    virtio_set_status(dev, virtio_status(dev) | VIRTIO_CONFIG_S_DRIVER_OK);
}

bool virtio_bring_up(const struct virtio *dev, uint64_t features, struct ring *ring)
{
    if (!virtio_negotiate(dev, features))
        return false;
    virtio_set_queue(dev, 0, ring);
    virtio_start(dev);
    return !(virtio_status(dev) & (VIRTIO_CONFIG_S_NEEDS_RESET | VIRTIO_CONFIG_S_FAILED));
}

void virtio_notify(const struct virtio *dev, uint16_t index)
{
    compiler_barrier();
    if (dev->is_mmio)
        write32(dev->notify, index);
    else
        write16(dev->notify + index * dev->notify_multiplier, index);
}

void virtio_set_vector(const struct virtio *dev, unsigned vector, uint8_t message)
{
    uint64_t entry = dev->msix_table + vector * PCI_MSIX_ENTRY_SIZE;

    write32(entry + PCI_MSIX_ENTRY_LOWER_ADDR, 0xfee00000);
    write32(entry + PCI_MSIX_ENTRY_UPPER_ADDR, 0);
    write32(entry + PCI_MSIX_ENTRY_DATA, message);
    write32(entry + PCI_MSIX_ENTRY_VECTOR_CTRL, 0);
}

bool virtio_use_vector(const struct virtio *dev, uint16_t index, uint16_t vector)
{
    pci_write16(dev->slot, dev->msix + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE);
    write16(dev->common + VIRTIO_PCI_COMMON_Q_SELECT, index);
    write16(dev->common + VIRTIO_PCI_COMMON_Q_MSIX, vector);
    return read16(dev->common + VIRTIO_PCI_COMMON_Q_MSIX) == vector;
}

void ring_init(struct ring *ring)
{
    memset(ring, 0, sizeof(*ring));
}

void ring_set(struct ring *ring, unsigned index, const void *buffer, uint32_t len, uint16_t flags,
              uint16_t next)
{
    ring->desc[index] = (struct vring_desc){ (uint64_t)buffer, len, flags, next };
}

void ring_offer(struct ring *ring, uint16_t head)
{
    ring->avail.ring[ring->avail.idx % RING_SIZE] = head;
    compiler_barrier();
    ring->avail.idx++;
    compiler_barrier();
}

bool ring_wait(struct ring *ring)
{
    volatile uint16_t *idx = &ring->used.idx;

    if (!wait_until(*idx != ring->seen))
        return false;
    ring->seen++;
    return true;
}

int blk_request(const struct virtio *dev, struct ring *ring, uint32_t type, uint64_t sector,
                void *data, uint32_t len)
{
    static struct virtio_blk_outhdr header;
    static volatile uint8_t status;
    bool is_read = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;

    header = (struct virtio_blk_outhdr){ .type = type, .sector = sector };
    status = 0xff;
    ring_set(ring, 0, &header, sizeof(header), VRING_DESC_F_NEXT, len ? 1 : 2);
    ring_set(ring, 1, data, len, VRING_DESC_F_NEXT | (is_read ? VRING_DESC_F_WRITE : 0), 2);
    ring_set(ring, 2, (void *)&status, 1, VRING_DESC_F_WRITE, 0);
    ring_offer(ring, 0);
    virtio_notify(dev, 0);
    return ring_wait(ring) ? status : -1;
}
