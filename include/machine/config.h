// SPDX-License-Identifier: Apache-2.0
/* What the user asked for, as plain checked data.
 *
 * Owns its strings and arrays, and no file descriptor; config_fini() frees it. It is filled by
 * the command line (cli/options.c), checked by config_check(), and only read after that. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "virtio/block_backend.h"
#include "virtio/fs_share.h"
#include "virtio/net.h"

enum {
    CONFIG_MAX_DISKS = 24,
    CONFIG_MAX_NETS = 8,
    CONFIG_MAX_VOLUMES = 16,                    /* of the user's */
    CONFIG_MAX_SHARES = CONFIG_MAX_VOLUMES + 5, /* and those that root_plan() adds */
    CONFIG_MAX_GROUPS = 64,
    CONFIG_NAME_MAX = 63,
};

/* TRANSPORT_AUTO: PCI, if the host gives the guest message-signalled interrupts. */
enum transport { TRANSPORT_PCI, TRANSPORT_MMIO, TRANSPORT_AUTO };
/* DTB_AUTO: what the architecture's kernels need; gone after config_check(). */
enum dtb { DTB_OFF, DTB_ON, DTB_AUTO };
enum on_reboot { ON_REBOOT_RESET, ON_REBOOT_EXIT };
/* Whose files a COMMAND sees. ROOT_UNSET: nobody said, and after root_choose(): the machine is the
 * user's own, without a COMMAND. ROOT_PATH: --root=PATH; gone after root_choose(). */
enum root { ROOT_UNSET, ROOT_NONE, ROOT_HOST, ROOT_PATH, ROOT_FOLDER, ROOT_IMAGE };
/* What a COMMAND sees of the user's home folder. */
enum home { HOME_HIDE, HOME_RO, HOME_RW };
/* TTY_AUTO: yes, if stdin and stdout are terminals; gone after config_check(), if there is a
 * COMMAND. */
enum tty { TTY_OFF, TTY_ON, TTY_AUTO };
enum on_oops { ON_OOPS_IGNORE, ON_OOPS_FAIL };
enum on_panic { ON_PANIC_EXIT, ON_PANIC_HOLD };

struct disk_config {
    char *path;
    bool format_given; /* the user said format=raw: raw it is, whatever it looks like */
    bool read_only;
    char *serial; /* NULL: from the name of the file */
    enum block_cache cache;
    unsigned queue_count; /* 0: one per vCPU, up to 4 */
};

enum net_kind { NET_KIND_USER, NET_KIND_TAP, NET_KIND_FD, NET_KIND_STREAM };

struct net_config {
    enum net_kind kind;
    char *target; /* interface or socket path */
    int fd;       /* the number the user gave; not owned */
    bool has_mac;
    uint8_t mac[NET_MAC_LEN]; /* filled in by config_check() if the user gave none */
    uint16_t mtu;             /* 0: default */
    unsigned queue_pairs;     /* 0: 1 */
};

/* A folder of the host, shared by virtio-fs. */
struct volume_config {
    char *path;
    char *tag; /* what it is mounted by; NULL: nobody said, gone after config_check() */
    bool read_only;
    enum fs_cache cache;
    /* Of those that the agent mounts for a COMMAND, by root_plan(): */
    char *target; /* where; NULL: the guest mounts it itself */
    bool is_root; /* what @target is made of */
};

/* Whom a COMMAND runs as. */
struct user_config {
    bool is_known; /* else @name is for the guest to look up; without one, it is root */
    uint32_t uid, gid;
    uint32_t groups[CONFIG_MAX_GROUPS];
    size_t group_count;
    char *name, *home; /* or NULL */
};

/* CONSOLE_TAIL: its last lines are kept, to be shown if things go wrong. */
enum console_kind { CONSOLE_NONE, CONSOLE_TTY, CONSOLE_FILE, CONSOLE_TAIL };

struct console_config {
    bool is_set; /* the user said so */
    enum console_kind kind;
    char *path;
};

struct config {
    char *name;
    unsigned cpu_count;
    uint64_t memory_size;   /* bytes, whole MiB */
    char **masked_features; /* of --cpu=host,-NAME; NULL-terminated, or NULL */
    char *kernel;           /* as given; a path once it was looked up */
    char *initrd;           /* NULL: none */
    bool initrd_auto;       /* made from the kernel's modules; initrd is NULL */
    char *cache_folder;     /* for initial RAM disks; NULL: there is none */
    char *unpacked_folder;  /* likewise, for kernels that were unpacked */
    char *modules_folder;   /* of the kernel, once it was looked up for that; or NULL */
    char *append;           /* NULL: none; several --append joined by blanks */
    char *cmdline;          /* NULL: defaults + append; else all of it */
    struct disk_config disks[CONFIG_MAX_DISKS];
    size_t disk_count;
    struct net_config nets[CONFIG_MAX_NETS];
    size_t net_count;
    struct volume_config volumes[CONFIG_MAX_SHARES];
    size_t volume_count;
    struct console_config console, serial; /* hvc0 and ttyS0 */
    bool has_rng;
    enum transport transport;
    enum on_reboot on_reboot;
    enum on_panic on_panic;
    enum on_oops on_oops;
    uint64_t timeout_ms; /* 0: none */
    uint64_t grace_ms;
    char **command; /* and its arguments, not owned; NULL-terminated, or NULL: none */
    char *shell[2]; /* what @command is if the user named none; owned */
    enum root root;
    char *root_path;         /* of ROOT_PATH, ROOT_FOLDER and ROOT_IMAGE */
    char *root_type;         /* of ROOT_IMAGE: its file system; NULL: not known */
    unsigned root_partition; /* of ROOT_IMAGE: 0: it has none */
    enum home home;
    char **hidden; /* paths on the host; NULL-terminated, or NULL */
    char *workdir; /* of the command; NULL: not said, and not known before root_plan() */
    char *user;    /* name or number as given; NULL: the caller */
    struct user_config run_as; /* by root_plan() */
    char **env;                /* "NAME=VALUE" or "NAME", as given; NULL-terminated, or NULL */
    enum tty tty;              /* of the command */
    bool has_stdin;            /* it is read for the guest */
    uint64_t boot_timeout_ms;  /* until the command is started; 0: none */
    enum dtb dtb;
    char *dtb_path;    /* of a copy for the user; NULL: none */
    char *result_path; /* NULL: none */
    int status_fd;     /* the number the user gave; not owned; -1: none */
    int escape_key;    /* the control character, or -1: none */
    bool dry_run;
};

/* The defaults, before anything was asked for. Returns 0 or -ENOMEM. */
int config_init(struct config *config);
void config_fini(struct config *config);

/* Fills in what depends on other options (name, MACs, which console has the terminal) and checks
 * the whole. Logs what is wrong. Returns 0 or -EINVAL. */
int config_check(struct config *config);

/* Whether a machine may be called so: the name becomes part of paths. */
bool config_name_is_valid(const char *name);

/* Checks that there is room for the devices, on the PCI bus or among the virtio-mmio slots. Logs.
 * Returns 0 or -EINVAL. config_check() calls it, who adds devices later, and for TRANSPORT_AUTO the
 * machine, once it knows. */
int config_check_device_count(const struct config *config, bool is_pci);

/* Adds a copy of @text to a NULL-terminated list. Returns 0 or -ENOMEM. */
int config_add_text(char ***list, const char *text);

/* How the guest may find its virtio devices. With TRANSPORT_AUTO, where a host need not give it
 * message-signalled interrupts, both are true: it is the machine, once built, that tells. */
bool config_may_be_pci(const struct config *config);
bool config_may_be_mmio(const struct config *config);

/* How many virtio devices there are. */
size_t config_device_count(const struct config *config);

/* The kernel command line that results: the caller's to free; NULL if there is no memory. */
char *config_cmdline(const struct config *config);

/* Whether a parameter which the user appended to it begins with @prefix ("root="). */
bool config_appends(const struct config *config, const char *prefix);

/* Whether that command line makes a kernel reset the machine warm in a panic, and only then. */
bool config_marks_panics(const struct config *config);
