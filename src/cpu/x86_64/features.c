// SPDX-License-Identifier: Apache-2.0
/* The names of CPU features, as Linux shows them in /proc/cpuinfo, and their bits in CPUID.
 *
 * Only what the hardware has and a guest can be denied: names that Linux makes up itself
 * (constant_tsc, rep_good ...) are no bits of CPUID. (Linux: arch/x86/include/asm/cpufeatures.h;
 * Intel SDM volume 2, CPUID; AMD APM volume 3, appendix E.) */
#include "x86.h"

#include <string.h>

#include "cpu/vcpu.h"

static const struct cpu_feature features[] = {
    { "sse3", 1, 0, CPUID_ECX, 0 }, /* the name in /proc/cpuinfo is pni */
    { "pni", 1, 0, CPUID_ECX, 0 },
    { "pclmulqdq", 1, 0, CPUID_ECX, 1 },
    { "vmx", 1, 0, CPUID_ECX, 5 },
    { "ssse3", 1, 0, CPUID_ECX, 9 },
    { "fma", 1, 0, CPUID_ECX, 12 },
    { "cx16", 1, 0, CPUID_ECX, 13 },
    { "pdcm", 1, 0, CPUID_ECX, 15 },
    { "pcid", 1, 0, CPUID_ECX, 17 },
    { "sse4_1", 1, 0, CPUID_ECX, 19 },
    { "sse4_2", 1, 0, CPUID_ECX, 20 },
    { "x2apic", 1, 0, CPUID_ECX, 21 },
    { "movbe", 1, 0, CPUID_ECX, 22 },
    { "popcnt", 1, 0, CPUID_ECX, 23 },
    { "tsc_deadline_timer", 1, 0, CPUID_ECX, 24 },
    { "aes", 1, 0, CPUID_ECX, 25 },
    { "xsave", 1, 0, CPUID_ECX, 26 },
    { "avx", 1, 0, CPUID_ECX, 28 },
    { "f16c", 1, 0, CPUID_ECX, 29 },
    { "rdrand", 1, 0, CPUID_ECX, 30 },
    { "hypervisor", 1, 0, CPUID_ECX, 31 },
    { "vme", 1, 0, CPUID_EDX, 1 },
    { "de", 1, 0, CPUID_EDX, 2 },
    { "pse", 1, 0, CPUID_EDX, 3 },
    { "mce", 1, 0, CPUID_EDX, 7 },
    { "sep", 1, 0, CPUID_EDX, 11 },
    { "mtrr", 1, 0, CPUID_EDX, 12 },
    { "pge", 1, 0, CPUID_EDX, 13 },
    { "mca", 1, 0, CPUID_EDX, 14 },
    { "pat", 1, 0, CPUID_EDX, 16 },
    { "pse36", 1, 0, CPUID_EDX, 17 },
    { "clflush", 1, 0, CPUID_EDX, 19 },
    { "mmx", 1, 0, CPUID_EDX, 23 },
    { "ht", 1, 0, CPUID_EDX, 28 },
    { "arat", 6, 0, CPUID_EAX, 2 },
    { "fsgsbase", 7, 0, CPUID_EBX, 0 },
    { "tsc_adjust", 7, 0, CPUID_EBX, 1 },
    { "bmi1", 7, 0, CPUID_EBX, 3 },
    { "hle", 7, 0, CPUID_EBX, 4 },
    { "avx2", 7, 0, CPUID_EBX, 5 },
    { "smep", 7, 0, CPUID_EBX, 7 },
    { "bmi2", 7, 0, CPUID_EBX, 8 },
    { "erms", 7, 0, CPUID_EBX, 9 },
    { "invpcid", 7, 0, CPUID_EBX, 10 },
    { "rtm", 7, 0, CPUID_EBX, 11 },
    { "mpx", 7, 0, CPUID_EBX, 14 },
    { "avx512f", 7, 0, CPUID_EBX, 16 },
    { "avx512dq", 7, 0, CPUID_EBX, 17 },
    { "rdseed", 7, 0, CPUID_EBX, 18 },
    { "adx", 7, 0, CPUID_EBX, 19 },
    { "smap", 7, 0, CPUID_EBX, 20 },
    { "avx512ifma", 7, 0, CPUID_EBX, 21 },
    { "clflushopt", 7, 0, CPUID_EBX, 23 },
    { "clwb", 7, 0, CPUID_EBX, 24 },
    { "avx512cd", 7, 0, CPUID_EBX, 28 },
    { "sha_ni", 7, 0, CPUID_EBX, 29 },
    { "avx512bw", 7, 0, CPUID_EBX, 30 },
    { "avx512vl", 7, 0, CPUID_EBX, 31 },
    { "avx512vbmi", 7, 0, CPUID_ECX, 1 },
    { "umip", 7, 0, CPUID_ECX, 2 },
    { "pku", 7, 0, CPUID_ECX, 3 },
    { "waitpkg", 7, 0, CPUID_ECX, 5 },
    { "avx512_vbmi2", 7, 0, CPUID_ECX, 6 },
    { "gfni", 7, 0, CPUID_ECX, 8 },
    { "vaes", 7, 0, CPUID_ECX, 9 },
    { "vpclmulqdq", 7, 0, CPUID_ECX, 10 },
    { "avx512_vnni", 7, 0, CPUID_ECX, 11 },
    { "avx512_bitalg", 7, 0, CPUID_ECX, 12 },
    { "avx512_vpopcntdq", 7, 0, CPUID_ECX, 14 },
    { "la57", 7, 0, CPUID_ECX, 16 },
    { "rdpid", 7, 0, CPUID_ECX, 22 },
    { "bus_lock_detect", 7, 0, CPUID_ECX, 24 },
    { "cldemote", 7, 0, CPUID_ECX, 25 },
    { "movdiri", 7, 0, CPUID_ECX, 27 },
    { "movdir64b", 7, 0, CPUID_ECX, 28 },
    { "fsrm", 7, 0, CPUID_EDX, 4 },
    { "avx512_vp2intersect", 7, 0, CPUID_EDX, 8 },
    { "md_clear", 7, 0, CPUID_EDX, 10 },
    { "serialize", 7, 0, CPUID_EDX, 14 },
    { "tsxldtrk", 7, 0, CPUID_EDX, 16 },
    { "arch_lbr", 7, 0, CPUID_EDX, 19 },
    { "ibt", 7, 0, CPUID_EDX, 20 },
    { "amx_bf16", 7, 0, CPUID_EDX, 22 },
    { "avx512_fp16", 7, 0, CPUID_EDX, 23 },
    { "amx_tile", 7, 0, CPUID_EDX, 24 },
    { "amx_int8", 7, 0, CPUID_EDX, 25 },
    { "spec_ctrl", 7, 0, CPUID_EDX, 26 },
    { "intel_stibp", 7, 0, CPUID_EDX, 27 },
    { "flush_l1d", 7, 0, CPUID_EDX, 28 },
    { "arch_capabilities", 7, 0, CPUID_EDX, 29 },
    { "spec_ctrl_ssbd", 7, 0, CPUID_EDX, 31 },
    { "avx_vnni", 7, 1, CPUID_EAX, 4 },
    { "avx512_bf16", 7, 1, CPUID_EAX, 5 },
    { "xsaveopt", 0xd, 1, CPUID_EAX, 0 },
    { "xsavec", 0xd, 1, CPUID_EAX, 1 },
    { "xgetbv1", 0xd, 1, CPUID_EAX, 2 },
    { "xsaves", 0xd, 1, CPUID_EAX, 3 },
    { "xfd", 0xd, 1, CPUID_EAX, 4 },
    { "lahf_lm", 0x80000001, 0, CPUID_ECX, 0 },
    { "svm", 0x80000001, 0, CPUID_ECX, 2 },
    { "abm", 0x80000001, 0, CPUID_ECX, 5 },
    { "sse4a", 0x80000001, 0, CPUID_ECX, 6 },
    { "misalignsse", 0x80000001, 0, CPUID_ECX, 7 },
    { "3dnowprefetch", 0x80000001, 0, CPUID_ECX, 8 },
    { "osvw", 0x80000001, 0, CPUID_ECX, 9 },
    { "xop", 0x80000001, 0, CPUID_ECX, 11 },
    { "fma4", 0x80000001, 0, CPUID_ECX, 16 },
    { "tbm", 0x80000001, 0, CPUID_ECX, 21 },
    { "topoext", 0x80000001, 0, CPUID_ECX, 22 },
    { "perfctr_core", 0x80000001, 0, CPUID_ECX, 23 },
    { "syscall", 0x80000001, 0, CPUID_EDX, 11 },
    { "nx", 0x80000001, 0, CPUID_EDX, 20 },
    { "mmxext", 0x80000001, 0, CPUID_EDX, 22 },
    { "fxsr_opt", 0x80000001, 0, CPUID_EDX, 25 },
    { "pdpe1gb", 0x80000001, 0, CPUID_EDX, 26 },
    { "rdtscp", 0x80000001, 0, CPUID_EDX, 27 },
    { "nonstop_tsc", 0x80000007, 0, CPUID_EDX, 8 },
    { "clzero", 0x80000008, 0, CPUID_EBX, 0 },
    { "xsaveerptr", 0x80000008, 0, CPUID_EBX, 2 },
    { "wbnoinvd", 0x80000008, 0, CPUID_EBX, 9 },
    { "ibpb", 0x80000008, 0, CPUID_EBX, 12 },
    { "ibrs", 0x80000008, 0, CPUID_EBX, 14 },
    { "stibp", 0x80000008, 0, CPUID_EBX, 15 },
    { "virt_ssbd", 0x80000008, 0, CPUID_EBX, 25 },
    { "npt", 0x8000000a, 0, CPUID_EDX, 0 },
    { "nrip_save", 0x8000000a, 0, CPUID_EDX, 3 },
};

const struct cpu_feature *cpu_feature_find(const char *name)
{
    for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
        if (strcmp(features[i].name, name) == 0)
            return &features[i];
    }
    return NULL;
}

const char cpu_feature_advice[] = "they are named as in /proc/cpuinfo";

bool cpu_feature_is_known(const char *name)
{
    return cpu_feature_find(name);
}
