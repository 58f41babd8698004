// SPDX-License-Identifier: Apache-2.0
/* The guest's network: the loopback interface, and the card that the job describes.
 *
 * The card is looked up by its address, as there may be others, and was found by the kernel when
 * its driver was loaded. The host knows all that is to be set, so nothing is asked for and nothing
 * waits; of IPv6 the kernel hears from the router by itself, at once when the card is up. */
#include <asm/errno.h>
#include <linux/if.h>
#include <linux/route.h>
#include <linux/sockios.h>
#include <netinet/in.h>

#include "agent.h"

enum { INTERFACES_MAX = 256 };

static int open_socket(void)
{
    return (int)SYS(socket, AF_INET, SOCK_DGRAM | SYS_CLOEXEC, 0);
}

static long raise(int fd, struct ifreq *request)
{
    long err = SYS(ioctl, fd, SIOCGIFFLAGS, request);

    request->ifr_flags |= IFF_UP;
    return err < 0 ? err : SYS(ioctl, fd, SIOCSIFFLAGS, request);
}

void network_raise_loopback(void)
{
    struct ifreq request = { .ifr_name = "lo" };
    int fd = open_socket();

    if (fd >= 0)
        (void)raise(fd, &request);
    sys_close(&fd);
}

/* Sets the name in @request. Returns whether there is such a card. */
static bool find_card(int fd, const uint8_t *mac, struct ifreq *request)
{
    for (int i = 1; i <= INTERFACES_MAX; i++) {
        request->ifr_ifindex = i;
        if (SYS(ioctl, fd, SIOCGIFNAME, request) >= 0 &&
            SYS(ioctl, fd, SIOCGIFHWADDR, request) >= 0 &&
            memcmp(request->ifr_hwaddr.sa_data, mac, sizeof(((struct agent_network *)0)->mac)) == 0)
            return true;
    }
    return false;
}

static struct sockaddr address_of(const uint8_t *bytes)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    struct sockaddr ret;

    memcpy(&address.sin_addr, bytes, sizeof(address.sin_addr));
    memcpy(&ret, &address, sizeof(ret));
    return ret;
}

static struct sockaddr mask_of(uint8_t prefix_len)
{
    uint8_t mask[4];

    for (unsigned i = 0; i < sizeof(mask); i++) {
        unsigned bits = prefix_len > 8 * i ? prefix_len - 8 * i : 0;
        mask[i] = bits < 8 ? (uint8_t)(0xff00 >> bits) : 0xff;
    }
    return address_of(mask);
}

static long add_default_route(int fd, const struct agent_network *network)
{
    static const uint8_t all[4] = { 0 };
    const struct rtentry route = { .rt_dst = address_of(all),
                                   .rt_genmask = address_of(all),
                                   .rt_gateway = address_of(network->gateway),
                                   .rt_flags = RTF_UP | RTF_GATEWAY };

    return SYS(ioctl, fd, SIOCADDRT, &route);
}

/* Nobody else is on this wire who could have the same address of IPv6: it is good at once, and not
 * after a second in which somebody might object. A kernel without IPv6 has no such file. */
static void trust_own_addresses(const struct ifreq *request)
{
    char path[64];

    TEXT_JOIN(path, "/proc/sys/net/ipv6/conf/", request->ifr_name, "/accept_dad");
    (void)write_text(path, "0");
}

static long configure(int fd, struct ifreq *request, const struct agent_network *network)
{
    trust_own_addresses(request);
    request->ifr_addr = address_of(network->address);
    long err = SYS(ioctl, fd, SIOCSIFADDR, request);

    request->ifr_netmask = mask_of(network->prefix_len);
    if (err >= 0)
        err = SYS(ioctl, fd, SIOCSIFNETMASK, request);
    if (err >= 0)
        err = raise(fd, request);
    return err < 0 ? err : add_default_route(fd, network);
}

bool network_set_up(const struct agent_network *network, struct failure *failure)
{
    struct ifreq request = { 0 };
    int fd = open_socket();
    bool is_there = fd >= 0 && find_card(fd, network->mac, &request);
    long err = is_there ? configure(fd, &request, network) : 0;

    sys_close(&fd);
    if (err < 0)
        return failure_describe(failure, 125, "the addresses of network card ", request.ifr_name,
                                err);
    if (is_there)
        return true;
    failure->status = 123;
    TEXT_JOIN(failure->text, "the network card of --net=user was not found: CONFIG_VIRTIO_NET or "
                             "CONFIG_INET is not set in this kernel, or its module was not found");
    return false;
}
