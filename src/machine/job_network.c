// SPDX-License-Identifier: Apache-2.0
/* The network that a COMMAND finds: that of the first card of --net=user, which passt makes.
 *
 * We tell passt the addresses, and so can tell the agent, which needs no DHCP client then. Of other
 * cards nobody knows what is behind them: they are left to the command.
 *
 * passt has an address of IPv4 for the host's resolver, which it forwards to if that has one of
 * IPv4, too; but over UDP only. A program whose answer does not fit a message of 512 bytes would
 * ask again by TCP, and wait for minutes: so it is told to take larger ones (RFC 6891). Where all
 * have IPv6 alone, the guest is told those, and asks them by itself. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/fd.h"
#include "host/log.h"
#include "machine/agent.h"
#include "root_private.h"
#include "virtio/net_backend.h"

enum { RESOLV_CONF_MAX = 65536, /* bytes; of a larger one nothing is taken */ };

const struct net_config *job_find_card(const struct config *config)
{
    for (size_t i = 0; i < config->net_count; i++) {
        if (config->nets[i].kind == NET_KIND_USER)
            return &config->nets[i];
    }
    return NULL;
}

static void add_addresses(const struct net_config *net, struct agent_job *job)
{
    struct agent_network network = { .prefix_len = (uint8_t)strtoul(NET_PASST_PREFIX, NULL, 10) };

    memcpy(network.mac, net->mac, sizeof(network.mac));
    (void)inet_pton(AF_INET, NET_PASST_ADDRESS, network.address);
    (void)inet_pton(AF_INET, NET_PASST_GATEWAY, network.gateway);
    agent_job_network(job, &network);
}

/* --- names: resolv.conf(5) --- */

static bool has_keyword(const char *line, const char *keyword)
{
    size_t len = strlen(keyword);

    return !strncmp(line, keyword, len) && (line[len] == ' ' || line[len] == '\t');
}

/* Which domains are searched, and how. */
static bool is_about_search(const char *line)
{
    return has_keyword(line, "search") || has_keyword(line, "domain") ||
           has_keyword(line, "options");
}

static bool is_resolver(const char *line)
{
    return has_keyword(line, "nameserver");
}

/* Whether a line names a resolver by an address of that family, into *@address. */
static bool read_resolver(const char *line, int family, void *address)
{
    char text[INET6_ADDRSTRLEN];

    if (!is_resolver(line))
        return false;
    line += strlen("nameserver");
    line += strspn(line, " \t");
    size_t len = strcspn(line, " \t\r\n");
    if (len >= sizeof(text))
        return false;
    memcpy(text, line, len);
    text[len] = '\0';
    return inet_pton(family, text, address) == 1;
}

static bool is_ipv4_resolver(const char *line)
{
    struct in_addr address;

    return read_resolver(line, AF_INET, &address);
}

/* One that the guest can ask by itself: neither the host alone nor the host's link has it. */
static bool is_ipv6_resolver(const char *line)
{
    struct in6_addr address;

    return read_resolver(line, AF_INET6, &address) && !IN6_IS_ADDR_LOOPBACK(&address) &&
           !IN6_IS_ADDR_LINKLOCAL(&address);
}

/* Copies the lines of @host (NULL: none) that @is_wanted. Returns the copy's end, as stpcpy(). */
static char *copy_lines(char *to, const char *host, bool (*is_wanted)(const char *line))
{
    *to = '\0';
    while (host && *host) {
        size_t len = strcspn(host, "\n");
        if (is_wanted(host))
            to = stpcpy(mempcpy(to, host, len), "\n");
        host += len + (host[len] == '\n');
    }
    return to;
}

static bool has_line(const char *host, bool (*is_wanted)(const char *line))
{
    const char *line = host;

    while (line && !is_wanted(line)) {
        line = strchr(line, '\n');
        line += line != NULL;
    }
    return line;
}

char *job_describe_resolver(const char *host)
{
    static const char ours[] = "nameserver " NET_PASST_RESOLVER "\noptions edns0\n";
    char *text = malloc(sizeof(ours) + (host ? strlen(host) + 1 : 0));

    if (!text)
        return NULL;
    bool is_forwarded = has_line(host, is_ipv4_resolver) || !has_line(host, is_ipv6_resolver);
    char *end = is_forwarded ? stpcpy(text, ours) : copy_lines(text, host, is_ipv6_resolver);
    (void)copy_lines(end, host, is_about_search);
    return text;
}

bool job_reaches_resolver(const char *host)
{
    return has_line(host, is_ipv4_resolver) || has_line(host, is_ipv6_resolver) ||
           !has_line(host, is_resolver);
}

static void warn_about_names(const struct config *config, const char *host)
{
    if (!job_reaches_resolver(host))
        log_warn(
            "--net=user: the guest will find no names: the host's /etc/resolv.conf has name "
            "servers on the host itself, or its link, by IPv6 only, which passt does not reach");
    for (size_t i = 0; i < config->volume_count; i++) {
        const struct volume_config *volume = &config->volumes[i];
        if (volume->target && !volume->is_root &&
            path_is_beneath("/etc/resolv.conf", volume->target))
            log_warn("--net=user: the guest may find no names: the host's folder '%s' is at '%s' "
                     "in the guest, with its own resolv.conf",
                     volume->path, volume->target);
    }
}

static void add_resolver(const struct config *config, struct agent_job *job)
{
    AUTO_FREE char *host = NULL;

    (void)fd_read_file("/etc/resolv.conf", RESOLV_CONF_MAX, &host, NULL);
    warn_about_names(config, host);
    AUTO_FREE char *text = job_describe_resolver(host);
    if (text)
        agent_job_file(job, "/etc/resolv.conf", text);
    else if (!job->err)
        job->err = -ENOMEM;
}

void job_add_network(const struct config *config, struct agent_job *job)
{
    const struct net_config *net = job_find_card(config);

    if (!net)
        return;
    add_addresses(net, job);
    add_resolver(config, job);
}
