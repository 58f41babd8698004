// SPDX-License-Identifier: Apache-2.0
/* MAC addresses for cards whose user gave none. */
#include "virtio/net.h"

/* FNV-1a over the name, its end and the index; then mixed, as FNV leaves the last byte's change in
 * few bits. Changing any of it gives every existing machine another address. */
static uint64_t hash_card(const char *vm_name, unsigned index)
{
    const uint64_t prime = 0x100000001b3;
    uint64_t hash = 0xcbf29ce484222325;

    for (const char *c = vm_name; *c; c++)
        hash = (hash ^ (uint8_t)*c) * prime;
    hash = (hash ^ 0) * prime;
    for (unsigned shift = 0; shift < 32; shift += 8)
        hash = (hash ^ (uint8_t)(index >> shift)) * prime;
    hash = (hash ^ (hash >> 33)) * 0xff51afd7ed558ccd;
    hash = (hash ^ (hash >> 33)) * 0xc4ceb9fe1a85ec53;
    return hash ^ (hash >> 33);
}

void net_default_mac(const char *vm_name, unsigned index, uint8_t mac[NET_MAC_LEN])
{
    uint64_t hash = hash_card(vm_name, index);

    mac[0] = 0x02; /* locally administered, unicast */
    for (unsigned i = 1; i < NET_MAC_LEN; i++)
        mac[i] = (uint8_t)(hash >> (8 * i));
}
