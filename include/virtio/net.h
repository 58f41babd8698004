// SPDX-License-Identifier: Apache-2.0
/* virtio-net (virtio 1.2, 5.1): the guest's side of a network card. */
#pragma once

#include <stdint.h>

#include "virtio/net_backend.h"
#include "virtio/virtio_dev.h"

enum { NET_MAC_LEN = 6, NET_MAX_QUEUE_PAIRS = 8 };

struct net_params {
    const char *name; /* for logs, copied: "network 'tap0'" */
    const struct guest_mem *mem;
    struct loop *loop;
    struct net_backend *backend; /* lent: outlives the card */
    uint8_t mac[NET_MAC_LEN];
    uint16_t mtu; /* 68 to 65535; 0: not told to the guest */
};

/* Returns 0, -EINVAL if the MTU or the back-end's pair_count is out of range, or -errno. */
int net_create(const struct net_params *params, struct virtio_dev **ret);

/* The MAC address of network card @index of the machine called @vm_name, if the user gives none:
 * the same at every start, so that DHCP leases and udev's names last; another for every name and
 * card, so that machines can meet on one network. It is 02, which marks a unicast address that
 * nobody assigned (IEEE 802, 8.4), and 40 bits of a hash. */
void net_default_mac(const char *vm_name, unsigned index, uint8_t mac[NET_MAC_LEN]);
