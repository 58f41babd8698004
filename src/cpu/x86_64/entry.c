// SPDX-License-Identifier: Apache-2.0
/* The state in which the first CPU starts, where it is not what KVM's reset leaves.
 *
 * Linux wants, in its 64-bit boot protocol, flat segments with the selectors 0x10 and 0x18 and
 * paging with the identity; PVH wants 32-bit flat segments and no paging. (Linux:
 * Documentation/arch/x86/boot.rst; Xen: docs/misc/pvh.pandoc.) */
#include "x86.h"

#include <asm/processor-flags.h>
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "mem/layout.h"

enum { SELECTOR_CODE = 0x10, SELECTOR_DATA = 0x18, SELECTOR_TSS = 0x20, GDT_ENTRIES = 5 };

/* Segment types (Intel SDM volume 3, 3.4.5.1 and 3.5). */
enum { TYPE_DATA = 0x3, TYPE_CODE = 0xb, TYPE_TSS_BUSY = 0xb };

/* Page table entries (Intel SDM volume 3, 4.5). */
#define PAGE_PRESENT 1u
#define PAGE_WRITABLE 2u
#define PAGE_LARGE 0x80u /* in a page directory: 2 MiB */

#define EFER_LME (1u << 8)
#define EFER_LMA (1u << 10)

enum { TABLE_SIZE = 4096, TABLE_ENTRIES = 512, DIRECTORY_COUNT = 4 };

static_assert((2 + DIRECTORY_COUNT) * TABLE_SIZE == LAYOUT_PAGE_TABLES_SIZE,
              "PML4, PDPT and the directories fill their place");

static struct kvm_segment code_segment(enum cpu_entry_mode mode)
{
    bool is_long = mode == CPU_ENTRY_LONG;

    return (struct kvm_segment){ .limit = 0xffffffff,
                                 .selector = SELECTOR_CODE,
                                 .type = TYPE_CODE,
                                 .present = 1,
                                 .s = 1,
                                 .g = 1,
                                 .l = is_long,
                                 .db = !is_long };
}

static struct kvm_segment data_segment(void)
{
    return (struct kvm_segment){ .limit = 0xffffffff,
                                 .selector = SELECTOR_DATA,
                                 .type = TYPE_DATA,
                                 .present = 1,
                                 .s = 1,
                                 .g = 1,
                                 .db = 1 };
}

static struct kvm_segment task_segment(void)
{
    return (struct kvm_segment){
        .limit = 0x67, .selector = SELECTOR_TSS, .type = TYPE_TSS_BUSY, .present = 1
    };
}

/* A segment as an entry of the descriptor table (Intel SDM volume 3, 3.4.5). */
static uint64_t descriptor(struct kvm_segment seg)
{
    uint64_t limit = seg.g ? seg.limit >> 12 : seg.limit;
    uint64_t flags = seg.type | (uint64_t)seg.s << 4 | (uint64_t)seg.dpl << 5 |
                     (uint64_t)seg.present << 7 | (uint64_t)seg.l << 13 | (uint64_t)seg.db << 14 |
                     (uint64_t)seg.g << 15;

    return (limit & 0xffff) | (seg.base & 0xffffff) << 16 | flags << 40 |
           (limit >> 16 & 0xf) << 48 | (seg.base >> 24 & 0xff) << 56;
}

static int write_gdt(struct guest_mem *mem, enum cpu_entry_mode mode)
{
    uint64_t gdt[GDT_ENTRIES] = {
        [SELECTOR_CODE / 8] = descriptor(code_segment(mode)),
        [SELECTOR_DATA / 8] = descriptor(data_segment()),
        [SELECTOR_TSS / 8] = descriptor(task_segment()),
    };

    return guest_mem_write(mem, LAYOUT_GDT, gdt, sizeof(gdt));
}

/* The first 4 GiB at their own addresses, in pages of 2 MiB. */
static int write_page_tables(struct guest_mem *mem)
{
    uint64_t *pml4 = guest_mem_at(mem, LAYOUT_PAGE_TABLES, LAYOUT_PAGE_TABLES_SIZE);
    if (!pml4)
        return -EFAULT;

    uint64_t *pdpt = pml4 + TABLE_ENTRIES;
    uint64_t *directories = pdpt + TABLE_ENTRIES;

    memset(pml4, 0, 2 * TABLE_SIZE);
    pml4[0] = (LAYOUT_PAGE_TABLES + TABLE_SIZE) | PAGE_PRESENT | PAGE_WRITABLE;
    for (uint64_t i = 0; i < DIRECTORY_COUNT; i++)
        pdpt[i] = (LAYOUT_PAGE_TABLES + (2 + i) * TABLE_SIZE) | PAGE_PRESENT | PAGE_WRITABLE;
    for (uint64_t i = 0; i < DIRECTORY_COUNT * TABLE_ENTRIES; i++)
        directories[i] = i * 2 * MIB | PAGE_PRESENT | PAGE_WRITABLE | PAGE_LARGE;
    return 0;
}

int entry_write_tables(struct guest_mem *mem, enum cpu_entry_mode mode)
{
    int err = write_gdt(mem, mode);

    if (!err && mode == CPU_ENTRY_LONG)
        err = write_page_tables(mem);
    return err;
}

void entry_set_sregs(struct kvm_sregs *sregs, enum cpu_entry_mode mode)
{
    struct kvm_segment data = data_segment();

    sregs->cs = code_segment(mode);
    sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = data;
    sregs->tr = task_segment();
    sregs->gdt = (struct kvm_dtable){ .base = LAYOUT_GDT, .limit = GDT_ENTRIES * 8 - 1 };
    sregs->idt = (struct kvm_dtable){ 0 };
    sregs->cr0 = X86_CR0_PE | X86_CR0_ET;
    sregs->cr3 = 0;
    sregs->cr4 = 0;
    sregs->efer = 0;
    if (mode == CPU_ENTRY_LONG) {
        sregs->cr0 |= X86_CR0_PG;
        sregs->cr3 = LAYOUT_PAGE_TABLES;
        sregs->cr4 = X86_CR4_PAE;
        sregs->efer = EFER_LME | EFER_LMA;
    }
}

void entry_set_regs(struct kvm_regs *regs, const struct cpu_entry *entry)
{
    memset(regs, 0, sizeof(*regs));
    regs->rflags = X86_EFLAGS_FIXED;
    regs->rip = entry->address;
    regs->rsp = LAYOUT_PVH_START_INFO; /* a small stack, down to the GDT */
    if (entry->mode == CPU_ENTRY_LONG)
        regs->rsi = entry->argument;
    else
        regs->rbx = entry->argument;
}
