# SPDX-License-Identifier: Apache-2.0
"""The files that the command lines under tests/config/ name: images as they should be, and images
that are broken in one way each. A case names one as {bzimage}."""
import fcntl
import gzip
import lzma
import os
import socket
import struct

KERNEL_CODE = b"\xf4\xeb\xfd" * 400  # hlt; jmp to it


def bzimage(version=0x20F, flag_64=1, loadflags=1, align=0x200000, init_size=0x400000, pref=0x1000000,
            code=KERNEL_CODE, jump=0x6A, cmdline_size=2047, syssize=None):
    """The header of Documentation/arch/x86/boot.rst, and code behind it."""
    code += b"\0" * (-len(code) % 16)
    image = bytearray(1024)
    struct.pack_into("<BHIHHHH", image, 0x1F1, 1, 0, len(code) // 16 if syssize is None else syssize,
                     0, 0, 0, 0xAA55)
    struct.pack_into("<BB4sH", image, 0x200, 0xEB, jump, b"HdrS", version)
    struct.pack_into("<B", image, 0x211, loadflags)
    struct.pack_into("<I", image, 0x22C, 0x7FFFFFFF)  # initrd_addr_max
    struct.pack_into("<IBBH", image, 0x230, align, 1, 21, flag_64)
    struct.pack_into("<I", image, 0x238, cmdline_size)
    struct.pack_into("<QI", image, 0x258, pref, init_size)
    return bytes(image) + code


def elf(paddr=0x1000000, memsz=0x2000, entry=0x1000000, machine=62, kind=2, bits=2, filesz=None,
        count=1):
    """A vmlinux with one segment."""
    code = KERNEL_CODE
    ident = b"\x7fELF" + bytes([bits, 1, 1]) + b"\0" * 9
    head = ident + struct.pack("<HHIQQQIHHHHHH", kind, machine, 1, entry, 64, 0, 0, 64, 56, count, 0,
                               0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 5, 120, paddr, paddr, len(code) if filesz is None else filesz,
                       memsz, 4096)
    return head + load + code


def arm64_image(text_offset=0, image_size=0x200000, flags=10):
    """Linux's Documentation/arch/arm64/booting.rst, and code behind it."""
    return struct.pack("<IIQQQQQQ4sI", 0, 0, text_offset, image_size, flags, 0, 0, 0, b"ARM\x64", 0) + \
        KERNEL_CODE


def padded(data, size=4096):
    return data + b"\0" * (size - len(data))


def kernels():
    good = bzimage()
    return {
        "bzimage": good,
        "vmlinux": elf(),
        "empty": b"",
        "text": b"console=ttyS0 root=/dev/vda\n",
        "zeroes": bytes(8192),
        "bzimage-old": bzimage(version=0x20A),
        "bzimage-32": bzimage(flag_64=0),
        "bzimage-short-header": bzimage(jump=0x20),
        "zimage": bzimage(loadflags=0),
        "bzimage-cut": bzimage(code=KERNEL_CODE * 20)[:4000],
        "bzimage-align": bzimage(align=0x300000),
        "bzimage-nothing": bzimage(syssize=0),
        "bzimage-big": bzimage(init_size=0x7000000),
        "bzimage-high": bzimage(pref=0x8000000000),
        "bzimage-short-cmdline": bzimage(cmdline_size=40),
        "elf-32": elf(bits=1),
        "elf-arm": elf(machine=183),
        "elf-module": elf(kind=1),
        "elf-core": elf(kind=4),
        "elf-low": elf(paddr=0x8000, entry=0x8000),
        "elf-far": elf(paddr=0x4000000000),
        "elf-entry": elf(entry=0xFFFFFFFF81000000),
        "elf-cut": elf(filesz=0x1800),
        "elf-filesz": elf(filesz=0x9000),
        "elf-headers": elf(count=60000),
        "arm64-image": arm64_image(),
        "zboot": padded(b"MZ\0\0zimg"),
        "kernel-gz": gzip.compress(good, mtime=0),
        "kernel-xz": lzma.compress(good),
        "kernel-zst": padded(b"\x28\xb5\x2f\xfd"),
        "cpio": padded(b"070701" + b"0" * 104 + b"TRAILER!!!"),
        "script": b"#!/bin/sh\nexec true\n",
        "deb": padded(b"!<arch>\ndebian-binary"),
    }


def ext4(size):
    """Only the mark of an ext4 file system."""
    return (bytes(1024 + 56) + b"\x53\xef").ljust(size, b"\0")


def gpt(*partitions):
    """A disk with (first sector, content) in a GPT."""
    entries = b"".join(b"\1" * 32 + struct.pack("<QQ", first, first + len(data) // 512 - 1) + bytes(80)
                       for first, data in partitions)
    header = b"EFI PART".ljust(72, b"\0") + struct.pack("<QII", 2, len(partitions), 128)
    disk = bytearray((bytes(446 + 4) + b"\xee").ljust(510, b"\0") + b"\x55\xaa" +
                     header.ljust(512, b"\0") + entries)
    for first, data in partitions:
        disk = disk.ljust(first * 512, b"\0") + data
    return bytes(disk)


def disks():
    return {
        "ext4": ext4(8192),
        "gpt": gpt((34, bytes(4096)), (42, ext4(4096)), (50, ext4(8192)), (66, bytes(16384))),
        "disk": bytes(1 << 20),
        "disk2": bytes(1 << 20),
        "a,b.img": bytes(8192),
        "disk-513": bytes(513),
        "qcow2": padded(b"QFI\xfb\0\0\0\3"),
        "vmdk": padded(b"KDMV\1\0\0\0"),
        "vmdk-text": padded(b"# Disk DescriptorFile\nversion=1\n"),
        "vdi": padded(b"<<< image >>>".ljust(64, b"\0") + b"\x7f\x10\xda\xbe"),
        "vhdx": padded(b"vhdxfile"),
        "vhd": padded(b"conectix"),
        "qed": padded(b"QED\0"),
        "disk-gz": padded(gzip.compress(bytes(99), mtime=0)),
        "disk-xz": padded(lzma.compress(bytes(99))),
        "disk-zst": padded(b"\x28\xb5\x2f\xfd"),
        "locked": bytes(8192),
        "big-initrd": bytes(24 << 20),
    }


CONFIG = b"""CONFIG_64BIT=y
CONFIG_ACPI=y
CONFIG_PCI=y
CONFIG_SERIAL_8250_CONSOLE=y
CONFIG_VIRTIO_PCI=y
CONFIG_VIRTIO_BLK=%s
CONFIG_EXT4_FS=y
# CONFIG_VIRTIO_MMIO is not set
"""


def with_config(image, config):
    """An image with a configuration inside, as IKCONFIG=y leaves it there."""
    return image + b"IKCFG_ST" + gzip.compress(config, mtime=0) + b"IKCFG_ED" + bytes(100)


def with_payload(payload):
    """A bzImage whose header tells of a compressed vmlinux and of its release."""
    image = bytearray(bzimage(code=payload + b"\xff" * 4 + bytes(500) + b"7.7.7-test (me@here) #1\0"))
    struct.pack_into("<II", image, 0x248, 0, len(payload) + 4)  # with the size behind it
    struct.pack_into("<H", image, 0x20E, 1024 + len(payload) + 504 - 512)
    return bytes(image)


def configured_kernels():
    vmlinux = with_config(elf(), CONFIG % b"y")
    lacking = with_config(elf(), CONFIG.replace(b"CONFIG_ACPI=y", b"") % b"y")
    return {
        "configured/vmlinux": vmlinux,
        "configured/lacking": lacking,
        "configured/mpparse": with_config(elf(), CONFIG % b"y" + b"CONFIG_X86_MPPARSE=y\n"),
        "configured/bzimage-gz": with_payload(gzip.compress(vmlinux, mtime=0)),
        "configured/bzimage-xz": with_payload(lzma.compress(vmlinux)),
        "configured/vmlinux-cut": vmlinux[:vmlinux.index(b"IKCFG_ST") + 60],
        "beside/bzimage": with_payload(b"?" * 64),
        "beside/config-7.7.7-test": CONFIG % b"m",
        "package/boot/vmlinuz-7.7.7-test": with_payload(b"?" * 64),
        "lacking/boot/vmlinuz-7.7.7-test": with_payload(b"?" * 64),
        "damaged/boot/vmlinuz-7.7.7-test": with_payload(b"?" * 64),
        "modules/7.7.7-test/vmlinuz": bzimage(),
        "modules/7.7.7-test/config": CONFIG % b"y",
        "tree/.config": CONFIG % b"m",
        "tree/arch/x86/boot/bzImage": bzimage(),
        "unbuilt/.config": CONFIG % b"m",
        "renamed/hutch/kernels/a/boot/vmlinuz-8.8.8-other": with_payload(b"?" * 64),
        "renamed/hutch/kernels/a/lib/modules/7.7.7-test/modules.dep": b"",
        "pulled/hutch/kernels/linux-image-0.1.9_1/boot/vmlinuz-0.1.9-test": bzimage(),
        "pulled/hutch/kernels/linux-image-0.1.10_1/boot/vmlinuz-0.1.10-test": bzimage(),
        "pulled/hutch/kernels/linux-image-0.1.10_1/boot/config-0.1.10-test": CONFIG % b"m",
        "pulled/hutch/kernels/.new.abc/boot/vmlinuz-0.2-half": bzimage(),
    }


MODULES_DEP = b"""kernel/virtio_pci.ko: kernel/virtio.ko
kernel/virtio_mmio.ko: kernel/virtio.ko
kernel/virtio.ko:
"""


def module_folders():
    """Those of the kernels package/, lacking/ and damaged/."""
    whole = MODULES_DEP + b"kernel/virtio_blk.ko.xz: kernel/virtio.ko\n"
    folders = {"package": (whole, lzma.compress(b"module")), "lacking": (MODULES_DEP, b""),
               "damaged": (whole, lzma.compress(b"module")[:-1])}
    files = {}
    for name, (dep, blk) in folders.items():
        folder = name + "/lib/modules/7.7.7-test/"
        files |= {folder + "modules.dep": dep, folder + "modules.builtin": b"kernel/fs/ext4/ext4.ko\n",
                  folder + "kernel/virtio_blk.ko.xz": blk}
        files |= {f"{folder}kernel/{module}.ko": b"module"
                  for module in ("virtio", "virtio_pci", "virtio_mmio")}
    tree = {"built/.config": CONFIG % b"m", "built/modules.builtin": b"kernel/fs/ext4/ext4.ko\n",
            "built/arch/x86/boot/bzImage": with_payload(b"?" * 64),
            "built/modules.order": b"virtio_pci.o\nvirtio_blk.o\nvirtio.o\n"}
    tree |= {f"built/{module}.ko": b"module\0depends=virtio\0" for module in ("virtio_pci", "virtio_blk")}
    return files | tree | {"built/virtio.ko": b"module\0depends=\0"}


class Folder:
    """The files, made in a folder, and what has to stay open while they are used."""

    def __init__(self, path):
        self.path = path
        for name, data in (kernels() | disks() | configured_kernels() | module_folders()).items():
            os.makedirs(os.path.dirname(os.path.join(path, name)), exist_ok=True)
            with open(os.path.join(path, name), "wb") as file:
                file.write(data)
        os.makedirs(os.path.join(path, "folder/deep"))
        os.mkfifo(os.path.join(path, "fifo"))
        for name in ("bzimage", "cpio", "disk"):
            os.link(os.path.join(path, name), os.path.join(path, "other-" + name))
        os.symlink("disk", os.path.join(path, "link-disk"))
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(os.path.join(path, "socket"))
        self.socket.listen()
        self.locked = open(os.path.join(path, "locked"), "r+b")
        # struct flock: a write lock over the whole file, of the open file itself
        fcntl.fcntl(self.locked, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))

    def names(self):
        """What a case may write in braces."""
        found = {name: os.path.join(self.path, name) for name in os.listdir(self.path)}
        found["tmp"] = self.path
        found["long"] = "x" * 3000
        return found
