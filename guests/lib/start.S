// SPDX-License-Identifier: Apache-2.0
/* Where a guest starts: on the first CPU in 64-bit mode, or in 32-bit mode by PVH, and on the
 * others in real mode, at the trampoline that smp.c copied below 1 MiB. All end up in C. */

#define CODE_SELECTOR 0x10
#define DATA_SELECTOR 0x18
#define PAGE_TABLES 0x9000      /* where the boot loader left them (mem/layout.h) */
#define FIRST_STACK_SIZE 16384

        .section .text.start, "ax"
        .code64
        .globl  _start
_start:                                 /* rsi: the boot parameters */
        lea     stack_top(%rip), %rsp
        mov     %rsi, %rdi
        xor     %ebp, %ebp
        call    guest_start
1:      hlt
        jmp     1b

#ifdef PVH
        .section .note.pvh, "a", @note
        .balign 4
        .long   4, 4, 18                /* XEN_ELFNOTE_PHYS32_ENTRY */
        .asciz  "Xen"
        .long   pvh_start

        .text
        .code32
pvh_start:                              /* ebx: the start info; paging is off */
        lgdt    gdt_pointer
        ljmp    $8, $1f
1:      mov     $16, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        /* The first 4 GiB at their own addresses, in pages of 2 MiB. */
        mov     $page_directories, %edi
        mov     $0x83, %eax
1:      mov     %eax, (%edi)
        movl    $0, 4(%edi)
        add     $8, %edi
        add     $0x200000, %eax
        jnc     1b
        mov     $page_directories + 3, %eax
        mov     $page_pointers, %edi
        mov     $4, %ecx
1:      mov     %eax, (%edi)
        add     $0x1000, %eax
        add     $8, %edi
        loop    1b
        movl    $page_pointers + 3, page_root
        mov     $page_root, %eax
        mov     %eax, %cr3
        mov     $0x20, %eax             /* PAE */
        mov     %eax, %cr4
        mov     $0xc0000080, %ecx       /* EFER */
        mov     $0x100, %eax            /* LME */
        xor     %edx, %edx
        wrmsr
        mov     %cr0, %eax
        or      $0x80000000, %eax       /* PG */
        mov     %eax, %cr0
        ljmp    $24, $1f
        .code64
1:      lea     stack_top(%rip), %rsp
        mov     %ebx, %edi
        xor     %ebp, %ebp
        call    guest_start_pvh
1:      hlt
        jmp     1b

        .section .rodata
        .balign 8
gdt:    .quad   0
        .quad   0x00cf9b000000ffff      /* 8: 32-bit code */
        .quad   0x00cf93000000ffff      /* 16: data */
        .quad   0x00af9b000000ffff      /* 24: 64-bit code */
gdt_end:
gdt_pointer:
        .word   gdt_end - gdt - 1
        .long   gdt

        .bss
        .balign 4096
page_root:
        .fill   4096
page_pointers:
        .fill   4096
page_directories:
        .fill   4 * 4096
#endif

        .bss
        .balign 16
        .fill   FIRST_STACK_SIZE
stack_top:

/* Interrupt handlers, one for each vector that apic.c counts. */
        .section .rodata.interrupts, "a"
        .globl  interrupt_handlers
        .balign 8
interrupt_handlers:

        .section .text.interrupts, "ax"
        .code64
handle_interrupt:                       /* with the vector's index on the stack */
        .irp    register, rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
        push    %\register
        .endr
        mov     72(%rsp), %rdi
        cld
        call    count_interrupt
        .irp    register, r11, r10, r9, r8, rdi, rsi, rdx, rcx, rax
        pop     %\register
        .endr
        add     $8, %rsp
        iretq

        .irp    index, 0, 1, 2, 3, 4, 5, 6, 7
        .section .text.interrupts, "ax"
1:      push    $\index
        jmp     handle_interrupt
        .section .rodata.interrupts, "a"
        .quad   1b
        .endr

/* The trampoline: position-independent but for its page, 0x8000. The GDT of the boot loader is at
 * 0x500 and has 64-bit code at 0x10. */
        .section .rodata.trampoline, "a"
        .globl  trampoline, trampoline_end
        .code16
trampoline:
        cli
        xor     %ax, %ax
        mov     %ax, %ds
        lgdtl   trampoline_gdt - trampoline + 0x8000
        mov     $0x20, %eax
        mov     %eax, %cr4
        mov     $PAGE_TABLES, %eax
        mov     %eax, %cr3
        mov     $0xc0000080, %ecx
        mov     $0x100, %eax
        xor     %edx, %edx
        wrmsr
        mov     $0x80000011, %eax
        mov     %eax, %cr0
        ljmpl   $CODE_SELECTOR, $(trampoline_64 - trampoline + 0x8000)
        .code64
trampoline_64:
        mov     $DATA_SELECTOR, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        mov     $1, %eax                /* each CPU takes the next stack */
        lock xadd %eax, trampoline_count - trampoline + 0x8000
        mov     %eax, %edi
        inc     %eax
        shl     $12, %eax
        add     trampoline_stacks - trampoline + 0x8000, %rax
        mov     %rax, %rsp
        xor     %ebp, %ebp
        mov     trampoline_entry - trampoline + 0x8000, %rax
        call    *%rax
1:      hlt
        jmp     1b
        .balign 8
trampoline_gdt:
        .word   0x27
        .long   0x500
        .balign 8
        .globl  trampoline_entry, trampoline_stacks
trampoline_entry:
        .quad   0
trampoline_stacks:
        .quad   0
trampoline_count:
        .long   0
trampoline_end:

        .section .note.GNU-stack, "", @progbits
