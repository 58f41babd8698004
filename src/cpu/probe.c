// SPDX-License-Identifier: Apache-2.0
/* What this host's KVM can do. Nothing here fails: what could not be found out stays 0. */
#include "cpu/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>

#include "arch.h"
#include "host/fd.h"

static void probe_kvm(int kvm_fd, struct kvm_probe *ret)
{
    int version = ioctl(kvm_fd, KVM_GET_API_VERSION, 0);
    int max_vcpus = ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);

    if (version < 0) {
        ret->open_error = -errno;
        return;
    }
    ret->api_version = version;
    ret->max_vcpus = max_vcpus > 0 ? (unsigned)max_vcpus : 0;
    ret->missing_count = vm_missing_capabilities(kvm_fd, ret->missing,
                                                 sizeof(ret->missing) / sizeof(ret->missing[0]));
    ret->guest_instructions_per_second = measure_guest_speed(kvm_fd);
    arch_probe(kvm_fd, ret);
}

void kvm_probe(const char *kvm_path, struct kvm_probe *ret)
{
    memset(ret, 0, sizeof(*ret));

    AUTO_CLOSE int kvm_fd = open(kvm_path ? kvm_path : "/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm_fd < 0)
        ret->open_error = -errno;
    else
        probe_kvm(kvm_fd, ret);
}
