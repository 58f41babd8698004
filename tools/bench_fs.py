# SPDX-License-Identifier: Apache-2.0
"""The figures `command`, `fs` and `build` of tools/bench: COMMANDs among the host's own files,
beside QEMU with virtiofsd, which is how others do it.

Both guests have the same kernel, and the lab's files as their root, read-only under a layer in RAM,
and in it a folder of the lab's RAM to work in. For hutch that is `hutch run` without an option; for
QEMU an initial RAM disk mounts the same. What is measured is done in the lab itself before, so that
the programs are in its memory.

Both sides are shown as they are by default, cache=auto, and with cache=always for what is shared.
virtiofsd's auto has the guest drop what it knows of a file whenever that is opened, programs and
libraries included; hutch's only if the file changed."""
import collections
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

# What the lab can do in some minutes, and the size of what people do (with --full).
Work = collections.namedtuple("Work", "folders files_each read_mib written_mib built")
SHORT, FULL = Work(50, 100, 64, 64, "host"), Work(500, 100, 1024, 256, "hutch")
TOP = pathlib.Path(__file__).resolve().parents[1]
VIRTIOFSD = "/usr/lib/qemu/virtiofsd"
WORK = pathlib.Path("/tmp/bench/shared/folder")
KERNELS = pathlib.Path("/tmp/bench/cache/hutch/kernels/linux-image_1")

# What `hutch run` does by itself. The modules are those of mkinitrd, and overlay.
QEMU_SCRIPT = f"""\
insmod /overlay.ko
mkdir /lower /ram /new
mount -t virtiofs root /lower && mount -t tmpfs ram /ram && mkdir /ram/upper /ram/work
mount -t overlay -o lowerdir=/lower,upperdir=/ram/upper,workdir=/ram/work root /new
for place in dev proc sys; do mount -o bind /$place /new/$place; done
mount -t tmpfs tmp /new/tmp && mkdir -p /new{WORK} && mount -t virtiofs work /new{WORK}
chroot /new /bin/sh -c 'cd {WORK} && . ./job' || echo "the job's status: $?"
"""
# A kernel has the time from a chip that knows whole seconds only. But the files' times are the
# lab's, and meson gives up over one that is in the future. (hutch sets the clock by itself.)
SET_CLOCK = "import os, time; open('now', 'w').close(); " \
            "time.clock_settime_ns(time.CLOCK_REALTIME, os.stat('now').st_mtime_ns)"


# --- on the build machine ---


def targets(work):
    """What ninja is to make: all of hutch, or the objects of one of its folders."""
    if work.built == "hutch":
        return "hutch"
    sources = sorted(path.name for path in (TOP / "src" / work.built).glob("*.c"))
    return " ".join(f"libhutch.a.p/src_{work.built}_{name}.o" for name in sources)


def phases(figure, work):
    """By name, commands of the job."""
    if figure == "build":
        return {
            "meson_setup": "meson setup source/build source --buildtype=plain >&2",
            f"ninja_of_{work.built}": f"ninja -C source/build {targets(work)} >&2",
        }
    return {
        f"git_status_of_{work.folders * work.files_each}_files": "git -C tree status --short",
        "git_status_again": "git -C tree status --short",
        f"tar_of_{work.read_mib}_mib": "tar -cf - large | cat",
        "make_and_remove_200":
            "rm -rf made; mkdir made && cd made && seq 200 | xargs touch && rm -r ../made",
        f"write_of_{work.written_mib}_mib":
            f"dd if=/dev/zero of=new bs=1M count={work.written_mib} conv=fsync",
    }


def job_script(commands):
    """The guest says when a phase begins and ends."""
    lines = ["export HOME=/tmp GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory",
             "export GIT_CONFIG_VALUE_0='*'",
             f'python3 -c "{SET_CLOCK}"']
    for name, command in commands.items():
        lines.append(f"echo begin {name}; ({command}) >/dev/null 2>/tmp/words || "
                     f"{{ cat /tmp/words; exit 1; }}; echo end {name}")
    return "\n".join(lines) + "\n"


def run(*words):
    subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL)


def add_kernel(folder, kernel_dir):
    """What `hutch kernel pull` would have of it, as far as a COMMAND needs that."""
    modules = next((kernel_dir / "lib/modules").iterdir()).relative_to(kernel_dir)
    wanted = [f"{modules}/kernel/{name}" for name in
              ("drivers/virtio", "drivers/char/virtio_console.ko", "drivers/block/virtio_blk.ko",
               "drivers/char/hw_random/virtio-rng.ko", "fs/fuse", "fs/overlayfs",
               "arch/x86/crypto/sha256-ssse3.ko")]
    indices = [path.relative_to(kernel_dir) for path in (kernel_dir / modules).glob("modules.*")]
    run("tar", "-C", kernel_dir, "-cf", folder / "pulled.tar", "boot", *indices, *wanted)
    overlay = kernel_dir / modules / "kernel/fs/overlayfs/overlay.ko"
    (folder / "overlay.ko").write_bytes(overlay.read_bytes())


def add_tree(folder, work):
    """A git repository, as an archive: what takes seconds here would take minutes in the lab."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        tree = pathlib.Path(name) / "tree"
        for i in range(work.folders):
            place = tree / f"folder-{i:03}"
            place.mkdir(parents=True)
            for j in range(work.files_each):
                (place / f"file-{j:02}").write_text(f"{i} {j}\n" * 20)
        git = ["git", "-C", tree, "-c", "user.name=b", "-c", "user.email=b@b", "-c", "gc.auto=0"]
        for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"], ["gc", "-q"]):
            run(*git, *words)
        run("tar", "-C", name, "-cf", folder / "tree.tar", "tree")


def add_source(folder):
    """This tree, as an archive."""
    run("tar", "-C", TOP, "--exclude=./.*", "--exclude=./build*", "--exclude=corpus", "-cf",
        folder / "source.tar", ".")


def add_files(folder, kernel_dir, figure, work):
    add_kernel(folder, kernel_dir)
    is_timed = figure != "command"
    (folder / "job").write_text(job_script(phases(figure, work)) if is_timed else "true\n")
    if figure == "fs":
        add_tree(folder, work)
    elif figure == "build":
        add_source(folder)


# --- in the lab ---


def unpack(files):
    """Moves what add_files() made to where it is used."""
    WORK.mkdir(parents=True)
    KERNELS.mkdir(parents=True)
    run("tar", "-C", KERNELS, "--warning=no-timestamp", "-xf", files / "pulled.tar")
    (files / "job").rename(WORK / "job")


def unpack_archive(archive, folder):
    # As new as the lab's clock is: git reads what is newer than its index again and again, and
    # ninja makes anew what is older than its source.
    folder.mkdir(exist_ok=True)
    run("tar", "-C", folder, "-xmf", archive)
    archive.unlink()


def add_large(work):
    (WORK / "large").mkdir()
    block = bytes(range(256)) * 4096
    for i in range(2):
        with open(WORK / "large" / str(i), "wb") as file:
            for _ in range(work.read_mib // 2):
                file.write(block)


def hutch_command(program, *options):
    return ["env", "-C", WORK, "XDG_CACHE_HOME=" + str(KERNELS.parents[2]), program, "run",
            "--boot-timeout=300s", *options, "--", "sh", "job"]


def with_virtiofsd(qemu, cache="auto"):
    """A command for the shell: both servers, and QEMU when they are ready."""
    sockets = {"root": ("/tmp/bench/root.sock", "/"), "work": ("/tmp/bench/work.sock", str(WORK))}
    lines, options = [], ["-object", "memory-backend-memfd,id=ram,size=1G,share=on", "-machine",
                          "memory-backend=ram", "-m", "1G"]
    for tag, (socket, folder) in sockets.items():
        lines.append(f"rm -f {socket}; {VIRTIOFSD} --socket-path={socket} -o source={folder} "
                     f"-o cache={cache},sandbox=chroot 2>/tmp/bench/{tag}.log &")
        options += ["-chardev", f"socket,id={tag},path={socket}",
                    "-device", f"vhost-user-fs-device,chardev={tag},tag={tag}"]
    for socket, _ in sockets.values():
        lines.append(f"while ! [ -S {socket} ]; do sleep 0.01; done")
    lines.append(shlex.join([*qemu, *options]))
    return ["sh", "-c", "\n".join(lines)]


def is_words(line):
    """Whether it is more than the kernel on a serial console has to say."""
    return line.strip() and not re.match(r"\[ *\d+\.\d+\]", line)


def launch_to_end(command):
    """Seconds until a guest's job is done."""
    begin = time.monotonic()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace")
    if done.returncode or any(is_words(line) for line in done.stdout.splitlines()):
        raise RuntimeError(f"{command}: status {done.returncode}: {done.stdout[-800:]}")
    return time.monotonic() - begin


def has_virtiofsd():
    return pathlib.Path(VIRTIOFSD).exists()


def inside_command(files, microvm, beyond_ram_kib):
    """microvm: the command of a plain guest of QEMU's."""
    unpack(files)
    commands = {"hutch": hutch_command(files / "hutch", "-m1G")}
    if has_virtiofsd():
        commands["qemu_with_virtiofsd"] = with_virtiofsd(microvm)
    result = {}
    for name, command in commands.items():
        runs = [launch_to_end(command) for _ in range(4)][1:]  # the first one warms up
        result[name] = {"launch_to_true_done_s": round(min(runs), 3),
                        "runs": [round(seconds, 3) for seconds in runs]}
    (WORK / "job").write_text("echo ready; sleep 600\n")
    # `env` becomes hutch: it is the process that is looked at.
    process = subprocess.Popen(commands["hutch"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    process.stdout.readline()
    time.sleep(1)
    result["hutch"]["beyond_ram_kib"] = beyond_ram_kib(process.pid, 1 << 20)
    process.kill()
    process.wait()
    return result


def inside_fs(files, microvm, timed_phases, work):
    unpack(files)
    unpack_archive(files / "tree.tar", WORK)
    add_large(work)
    return beside_qemu(files, microvm, timed_phases)


def inside_build(files, microvm, timed_phases):
    unpack(files)
    unpack_archive(files / "source.tar", WORK / "source")
    return beside_qemu(files, microvm, timed_phases)


def beside_qemu(files, microvm, timed_phases):
    """The seconds of the job's phases, by guest and phase.

    timed_phases: runs a command and returns those of one guest."""
    in_hutch = {cache: hutch_command(files / "hutch", "-m1G", "-v",
                                     f"{WORK}:{WORK}:rw,cache={cache}")
                for cache in ("auto", "always")}
    commands = {"lab_itself": ["env", "-C", WORK, "sh", "job"], "hutch_auto": in_hutch["auto"]}
    if has_virtiofsd():
        commands["qemu_with_virtiofsd"] = with_virtiofsd(microvm)
        commands["qemu_with_virtiofsd_always"] = with_virtiofsd(microvm, "always")
    commands["hutch_always"] = in_hutch["always"]
    result = {}
    for name, command in commands.items():
        (WORK / "new").unlink(missing_ok=True)
        shutil.rmtree(WORK / "source/build", ignore_errors=True)
        result[name] = {phase: round(seconds, 3)
                        for phase, seconds in timed_phases(command).items()}
        print(f"bench: {name}: {result[name]}", file=sys.stderr, flush=True)
    if has_virtiofsd():
        result["hutch_to_qemu"] = {name: round(result["hutch_auto"][name] / seconds, 3)
                                   for name, seconds in result["qemu_with_virtiofsd"].items()}
    return result
