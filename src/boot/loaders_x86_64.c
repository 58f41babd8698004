// SPDX-License-Identifier: Apache-2.0
/* Which kernels a PC boots, and what people give it instead. */
#include "image.h"

const bool boot_needs_fdt = false; /* there is ACPI */

const struct boot_loader *const boot_loaders[] = { &bzimage_loader, &elf_loader, NULL };

const char boot_bootable_files[] = "a bzImage or an ELF vmlinux";

const struct foreign_signature boot_foreign_signatures[] = {
    { 4, 4, "zimg", "an EFI zboot image; take the bzImage or vmlinux it was made from" },
    { 56, 4, "ARM\x64", "an arm64 kernel; this machine is x86-64, take a bzImage or a vmlinux" },
    { 0 },
};
