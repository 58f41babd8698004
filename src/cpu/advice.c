// SPDX-License-Identifier: Apache-2.0
/* The way out when KVM does not open. */
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <sys/stat.h>

#include "cpu/probe.h"
#include "host/cpuinfo.h"

/* What makes KVM come to be where it is missing. @was_tried: its module was, and found nothing. */
static void advise_virtualization(bool was_tried, char *buf, size_t size)
{
    const char *module = cpuinfo_has_flag("vmx")   ? "kvm_intel"
                         : cpuinfo_has_flag("svm") ? "kvm_amd"
                                                   : NULL;

    if (module && !was_tried) {
        (void)snprintf(buf, size,
                       "sudo modprobe %s; in a container, pass /dev/kvm in "
                       "(docker run --device /dev/kvm)",
                       module);
    } else if (!module && cpuinfo_has_flag("hypervisor")) {
        (void)snprintf(buf, size,
                       "this is a virtual machine: have nested virtualization switched on for it "
                       "(on a KVM host: nested=1 of kvm_intel or kvm_amd, and the CPU model host), "
                       "or use another machine");
    } else {
        (void)snprintf(buf, size,
                       "switch virtualization (VT-x, AMD-V, SVM) on in the firmware's setup");
    }
}

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
        advise_virtualization(err == -ENODEV || err == -ENXIO, buf, size);
        break;
    }
}
