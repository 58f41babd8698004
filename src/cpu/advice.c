// SPDX-License-Identifier: Apache-2.0
/* The way out when KVM does not open. */
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <sys/stat.h>

#include "arch.h"
#include "cpu/probe.h"

/* A group that may write is made for this, unless it is root's. */
static void advise_access(const char *path, char *buf, size_t size)
{
    struct stat st;
    const struct group *group =
        stat(path, &st) == 0 && (st.st_mode & S_IWGRP) && st.st_gid ? getgrgid(st.st_gid) : NULL;

    if (group)
        (void)snprintf(buf, size, "sudo usermod -aG %s $USER, then log in again", group->gr_name);
    else
        (void)snprintf(buf, size, "sudo setfacl -m u:$USER:rw %s", path);
}

void kvm_advise(const char *path, int err, char *buf, size_t size)
{
    switch (err) {
    case -EACCES:
        advise_access(path, buf, size);
        break;
    case -EPERM: /* of the control group for devices, whatever the file's mode */
        (void)snprintf(buf, size,
                       "this container was not given the device: docker run --device /dev/kvm");
        break;
    default:
        arch_advise_virtualization(err == -ENODEV || err == -ENXIO, buf, size);
        break;
    }
}
