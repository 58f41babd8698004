// SPDX-License-Identifier: Apache-2.0
/* The null kernel: a valid bzImage (Linux: Documentation/arch/x86/boot.rst) whose first
 * instructions reset the machine, by whichever of the usual ways it knows.
 *
 * What remains of the time from launch to exit is the VMM's own. It can be entered as any kernel:
 * in real mode through its setup code, in 32-bit mode at the start of its program, and in 64-bit
 * mode 512 bytes behind. Linked to address 0, as a flat binary. */
/* asm/bootparam.h, which an assembler cannot read. */
#define LOADED_HIGH 1
#define XLF_KERNEL_64 1

#define SETUP_SECTORS 1
#define SECTOR_SIZE 512
#define PROGRAM ((SETUP_SECTORS + 1) * SECTOR_SIZE)
#define PROGRAM_SIZE 1024
#define PROGRAM_ADDRESS 0x100000

/* Port 0xcf9 (a PC's chipset), port 0x64 (any PC's keyboard controller), and at last a fault that
 * nothing can handle. A VMM may let the guest run on for a moment after it asked for its end. */
.macro reset_machine no_idt enter_protected_mode
        mov     $0xcf9, %dx
        mov     $0x06, %al
        out     %al, %dx
        mov     $0xfe, %al
        out     %al, $0x64
        lidt    \no_idt
        .ifnb   \enter_protected_mode
        mov     %cr0, %eax
        or      $1, %al
        mov     %eax, %cr0
        .endif
        xor     %ecx, %ecx
        div     %ecx
1:      hlt
        jmp     1b
.endm

        .section .text, "ax"
        .globl  _start
_start:
        .org    0x1f1
        .byte   SETUP_SECTORS           /* setup_sects */
        .word   0                       /* root_flags */
        .long   PROGRAM_SIZE / 16       /* syssize */
        .word   0                       /* ram_size */
        .word   0xffff                  /* vid_mode */
        .word   0                       /* root_dev */
        .word   0xaa55                  /* boot_flag */
        .byte   0xeb, real_mode - 0x202 /* jump over the header, whose end it also tells */
        .ascii  "HdrS"
        .word   0x20f                   /* version */
        .long   0                       /* realmode_swtch */
        .word   0                       /* start_sys_seg */
        .word   0                       /* kernel_version */
        .byte   0                       /* type_of_loader */
        .byte   LOADED_HIGH             /* loadflags */
        .word   0                       /* setup_move_size */
        .long   PROGRAM_ADDRESS         /* code32_start */
        .long   0, 0                    /* ramdisk_image, ramdisk_size */
        .long   0                       /* bootsect_kludge */
        .word   0                       /* heap_end_ptr */
        .byte   0, 0                    /* ext_loader_ver, ext_loader_type */
        .long   0                       /* cmd_line_ptr */
        .long   0x7fffffff              /* initrd_addr_max */
        .long   PROGRAM_ADDRESS         /* kernel_alignment */
        .byte   0                       /* relocatable_kernel */
        .byte   0                       /* min_alignment */
        .word   XLF_KERNEL_64           /* xloadflags */
        .long   2047                    /* cmdline_size */
        .long   0                       /* hardware_subarch */
        .quad   0                       /* hardware_subarch_data */
        .long   0, 0                    /* payload_offset, payload_length */
        .quad   0                       /* setup_data */
        .quad   PROGRAM_ADDRESS         /* pref_address */
        .long   0x10000                 /* init_size */
        .long   0                       /* handover_offset */
        .long   0                       /* kernel_info_offset */

        .code16
real_mode:                              /* ds is where the file was loaded to */
        reset_machine no_idt, enter_protected_mode=1 /* real mode would find an IDT at 0 */

        .code32
        .org    PROGRAM
        reset_machine (no_idt - PROGRAM + PROGRAM_ADDRESS)

        .code64
        .org    PROGRAM + 0x200
        reset_machine no_idt(%rip)

        .balign 16
no_idt:
        .fill   16
        .org    PROGRAM + PROGRAM_SIZE
