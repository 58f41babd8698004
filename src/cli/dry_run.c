// SPDX-License-Identifier: Apache-2.0
/* The resolved machine as JSON: the options' names and words, with every default filled in. */
#include "dry_run.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/fd.h"
#include "host/json.h"
#include "machine/config.h"

static void print_disks(struct json *json, const struct config *config)
{
    static const char *const caches[] = { "writeback", "none", "unsafe" };

    json_begin_array(json, "disks");
    for (size_t i = 0; i < config->disk_count; i++) {
        const struct disk_config *disk = &config->disks[i];
        json_begin_object(json, NULL);
        json_text(json, "path", disk->path);
        json_text(json, "format", "raw");
        json_bool(json, "readonly", disk->read_only);
        json_text(json, "serial", disk->serial);
        json_text(json, "cache", caches[disk->cache]);
        if (disk->queue_count)
            json_number(json, "queues", disk->queue_count);
        json_end_object(json);
    }
    json_end_array(json);
}

static void print_net_kind(struct json *json, const struct net_config *net)
{
    switch (net->kind) {
    case NET_KIND_USER:
        json_text(json, "kind", "user");
        break;
    case NET_KIND_TAP:
        json_text(json, "kind", "tap");
        json_text(json, "interface", net->target);
        break;
    case NET_KIND_FD:
        json_text(json, "kind", "fd");
        json_number(json, "fd", (uint64_t)net->fd);
        break;
    case NET_KIND_STREAM:
        json_text(json, "kind", "stream");
        json_text(json, "socket", net->target);
        break;
    }
}

static void print_nets(struct json *json, const struct config *config)
{
    json_begin_array(json, "nets");
    for (size_t i = 0; i < config->net_count; i++) {
        const struct net_config *net = &config->nets[i];
        char mac[3 * NET_MAC_LEN];
        (void)snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", net->mac[0], net->mac[1],
                       net->mac[2], net->mac[3], net->mac[4], net->mac[5]);
        json_begin_object(json, NULL);
        print_net_kind(json, net);
        json_text(json, "mac", mac);
        if (net->mtu)
            json_number(json, "mtu", net->mtu);
        json_number(json, "queues", net->queue_pairs ? net->queue_pairs : 1);
        json_end_object(json);
    }
    json_end_array(json);
}

static void print_volumes(struct json *json, const struct config *config)
{
    static const char *const caches[] = { "auto", "always", "none" };

    json_begin_array(json, "volumes");
    for (size_t i = 0; i < config->volume_count; i++) {
        const struct volume_config *volume = &config->volumes[i];
        json_begin_object(json, NULL);
        json_text(json, "path", volume->path);
        json_text(json, "tag", volume->tag);
        if (volume->target)
            json_text(json, "guest", volume->target);
        json_bool(json, "readonly", volume->read_only);
        json_text(json, "cache", caches[volume->cache]);
        json_end_object(json);
    }
    json_end_array(json);
}

static void print_console(struct json *json, const char *key, const struct console_config *console)
{
    AUTO_FREE char *file = NULL;

    switch (console->kind) {
    case CONSOLE_NONE:
        json_text(json, key, "none");
        break;
    case CONSOLE_TTY:
        json_text(json, key, "tty");
        break;
    case CONSOLE_TAIL:
        json_text(json, key, "tail");
        break;
    case CONSOLE_FILE:
        if (asprintf(&file, "file:%s", console->path) < 0)
            file = NULL;
        json_text(json, key, file);
        break;
    }
}

static void print_cpu(struct json *json, const struct config *config)
{
    json_begin_object(json, "cpu");
    json_text(json, "model", "host");
    json_begin_array(json, "without");
    for (char **name = config->masked_features; name && *name; name++)
        json_text(json, NULL, *name);
    json_end_array(json);
    json_end_object(json);
}

static void print_list(struct json *json, const char *key, char *const *list)
{
    json_begin_array(json, key);
    for (; list && *list; list++)
        json_text(json, NULL, *list);
    json_end_array(json);
}

static void print_root(struct json *json, const struct config *config)
{
    static const char *const homes[] = { "hide", "ro", "rw" };

    json_text(json, "root",
              config->root == ROOT_NONE   ? "none"
              : config->root == ROOT_HOST ? "host"
                                          : config->root_path);
    if (config->root == ROOT_IMAGE)
        json_text(json, "root-type", config->root_type);
    if (config->root == ROOT_IMAGE && config->root_partition)
        json_number(json, "root-partition", config->root_partition);
    json_text(json, "home", homes[config->home]);
}

static void print_user(struct json *json, const struct config *config)
{
    const struct user_config *user = &config->run_as;

    json_begin_object(json, "user");
    json_text(json, "name", user->name);
    if (user->is_known) {
        json_number(json, "uid", user->uid);
        json_number(json, "gid", user->gid);
    }
    json_end_object(json);
}

static void print_command(struct json *json, const struct config *config)
{
    if (!config->command)
        return;
    json_begin_array(json, "command");
    for (char **arg = config->command; *arg; arg++)
        json_text(json, NULL, *arg);
    json_end_array(json);
    json_bool(json, "tty", config->tty == TTY_ON);
    print_root(json, config);
    print_user(json, config);
    json_text(json, "workdir", config->workdir);
    if (config->boot_timeout_ms)
        json_number(json, "boot-timeout_ms", config->boot_timeout_ms);
}

static void print_escape(struct json *json, int key)
{
    const char text[] = { '^', (char)tolower(key ^ 0x40), '\0' };

    json_text(json, "escape", key < 0 ? "none" : text);
}

void dry_run_print(const struct config *config)
{
    AUTO_FREE char *cmdline = config_cmdline(config);
    struct json json;

    json_init(&json, stdout, true);
    json_begin_object(&json, NULL);
    json_text(&json, "name", config->name);
    json_number(&json, "cpus", config->cpu_count);
    json_number(&json, "memory", config->memory_size);
    print_cpu(&json, config);
    json_text(&json, "kernel", config->kernel);
    json_text(&json, "initrd",
              config->initrd_auto || (config->command && !config->initrd) ? "auto"
                                                                          : config->initrd);
    if (config->modules_folder)
        json_text(&json, "modules", config->modules_folder);
    json_text(&json, "cmdline", cmdline);
    json_text(&json, "transport", config->transport == TRANSPORT_MMIO ? "mmio" : "pci");
    json_bool(&json, "dtb", config->dtb == DTB_ON);
    print_disks(&json, config);
    print_nets(&json, config);
    print_volumes(&json, config);
    print_list(&json, "hidden", config->hidden);
    print_console(&json, "serial", &config->serial);
    print_console(&json, "console", &config->console);
    json_bool(&json, "rng", config->has_rng);
    print_command(&json, config);
    json_text(&json, "on-reboot", config->on_reboot == ON_REBOOT_RESET ? "reset" : "exit");
    json_text(&json, "on-panic", config->on_panic == ON_PANIC_EXIT ? "exit" : "hold");
    json_text(&json, "on-oops", config->on_oops == ON_OOPS_IGNORE ? "ignore" : "fail");
    if (config->timeout_ms)
        json_number(&json, "timeout_ms", config->timeout_ms);
    json_number(&json, "grace_ms", config->grace_ms);
    json_bool(&json, "stdin", config->has_stdin);
    print_escape(&json, config->escape_key);
    json_text(&json, "dump-dtb", config->dtb_path);
    json_text(&json, "result", config->result_path);
    json_end_object(&json);
}
