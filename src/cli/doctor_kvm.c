// SPDX-License-Identifier: Apache-2.0
/* The checks without which nothing runs: KVM, its capabilities, and whether it is hardware. */
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cpu/probe.h"
#include "doctor.h"

static const char kvm_path[] = "/dev/kvm";

enum { KVM_API = 12 };
/* Below that, guest kernels run in an emulator: hardware reaches hundreds of millions, a guest
 * inside an emulated machine still tens of them. */
#define SLOW_BELOW UINT64_C(20000000)

/* What makes KVM come to be where it is missing. */
static void advise_virtualization(struct doctor *doctor)
{
    const char *module = doctor_has_cpu_flag("vmx")   ? "kvm_intel"
                         : doctor_has_cpu_flag("svm") ? "kvm_amd"
                                                      : NULL;

    if (module) {
        doctor_advise(doctor,
                      "sudo modprobe %s; in a container, pass /dev/kvm in "
                      "(docker run --device /dev/kvm)",
                      module);
    } else if (doctor_has_cpu_flag("hypervisor")) {
        doctor_advise(doctor, "this is a virtual machine: have nested virtualization switched on "
                              "for it (on a KVM host: nested=1 of kvm_intel or kvm_amd, and the "
                              "CPU model host), or use another machine");
    } else {
        doctor_advise(doctor,
                      "switch virtualization (VT-x, AMD-V, SVM) on in the firmware's setup");
    }
}

static void advise_permission(struct doctor *doctor)
{
    struct stat st;
    const struct group *group = stat(kvm_path, &st) == 0 ? getgrgid(st.st_gid) : NULL;

    if (group && st.st_mode & S_IWGRP && st.st_gid) {
        doctor_advise(doctor, "sudo usermod -aG %s $USER, then log in again", group->gr_name);
    } else {
        doctor_advise(doctor,
                      "sudo chgrp kvm %s && sudo chmod g+rw %s, and be in group kvm: "
                      "sudo usermod -aG kvm $USER",
                      kvm_path, kvm_path);
    }
}

static void note_open_error(struct doctor *doctor, int err)
{
    doctor_note(doctor, "kvm", FINDING_FAIL, "%s: %s", kvm_path, strerror(-err));
    if (err == -EACCES || err == -EPERM)
        advise_permission(doctor);
    else
        advise_virtualization(doctor);
}

static void note_capabilities(struct doctor *doctor, const struct kvm_probe *probe)
{
    char missing[160] = "";

    for (size_t i = 0; i < probe->missing_count; i++) {
        size_t len = strlen(missing);
        (void)snprintf(missing + len, sizeof(missing) - len, "%s%s", len ? ", " : "",
                       probe->missing[i]);
    }
    if (!probe->missing_count) {
        doctor_note(doctor, "kvm-capabilities", FINDING_OK, "all that are needed");
        return;
    }
    doctor_note(doctor, "kvm-capabilities", FINDING_FAIL, "missing: %s", missing);
    doctor_advise(doctor, "run a newer Linux kernel on this host (5.10 or later)");
}

static void note_hardware(struct doctor *doctor)
{
    const char *flag = doctor_has_cpu_flag("vmx")   ? "vmx"
                       : doctor_has_cpu_flag("svm") ? "svm"
                                                    : NULL;

    if (flag) {
        doctor_note(doctor, "cpu-virtualization", FINDING_OK, "%s%s", flag,
                    doctor_has_cpu_flag("hypervisor") ? " (nested: this is a virtual machine)"
                                                      : "");
        return;
    }
    doctor_note(doctor, "cpu-virtualization", FINDING_WARN,
                "the CPU's flags have neither vmx nor svm");
    advise_virtualization(doctor);
}

static void note_speed(struct doctor *doctor, uint64_t speed)
{
    double millions = (double)speed / 1e6;

    if (!speed) {
        doctor_note(doctor, "kvm-speed", FINDING_FAIL, "not even a tiny guest runs");
        doctor_advise(doctor, "look at what the kernel says about it: sudo dmesg | grep -i kvm");
    } else if (speed < SLOW_BELOW) {
        doctor_note(doctor, "kvm-speed", FINDING_FAIL,
                    "KVM here runs guest kernels in an instruction emulator (%.1f million "
                    "instructions per second): Linux guests do not boot",
                    millions);
        doctor_advise(doctor, "use a machine with hardware virtualization, or a virtual machine "
                              "with nested virtualization switched on");
    } else {
        doctor_note(doctor, "kvm-speed", FINDING_OK,
                    "guest kernels run natively (%.0f million instructions per second)", millions);
    }
}

void doctor_check_kvm(struct doctor *doctor)
{
    struct kvm_probe probe;

    kvm_probe(kvm_path, &probe);
    if (probe.open_error) {
        note_open_error(doctor, probe.open_error);
        note_hardware(doctor);
        return;
    }
    if (probe.api_version != KVM_API) {
        doctor_note(doctor, "kvm", FINDING_FAIL, "%s: API %d, not %d", kvm_path, probe.api_version,
                    KVM_API);
        doctor_advise(doctor, "run a newer Linux kernel on this host");
        return;
    }
    doctor_note(doctor, "kvm", FINDING_OK, "%s opens; API %d, up to %u CPUs", kvm_path, KVM_API,
                probe.max_vcpus);
    note_capabilities(doctor, &probe);
    note_hardware(doctor);
    note_speed(doctor, probe.guest_instructions_per_second);
}
