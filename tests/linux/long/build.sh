# shellcheck shell=bash disable=SC2154,SC2034
# A developer's work in a folder that is shared: hutch itself. What takes the build machine a second
# takes a guest in the lab a minute: so the program is not optimised, and tested where it serves and
# runs such a guest.

limits[hutch_is_built_and_tested_in_a_guest_of_its_own]=3000
hutch_is_built_and_tested_in_a_guest_of_its_own() {
    needs meson ninja gcc
    pull_kernel
    local top=${BASH_SOURCE[0]%/*}/../../.. tests=(fs fs_fuse fs_share guest_mem job loop virtqueue)
    mkdir tree && cd tree || exit
    tar -C "$top" --exclude='./.*' --exclude='./build*' --exclude=corpus -cf - . | tar -xmf -
    cat >script <<END
set -e
meson setup build --buildtype=plain
ninja -C build hutch ${tests[*]/#/tests/unit/test_}
build/hutch version
meson test -C build --no-rebuild --print-errorlogs --timeout-multiplier 20 ${tests[*]}
END
    run_command -c 1 -m 1G -- sh script
    expect_status 0
    expect_console '^Ok: +7 *$'
    expect_console '^Fail: +0 *$'
    expect_console "^$("$HUTCH" version)"
    [[ $(build/hutch version) == "$("$HUTCH" version)" ]] || fail "what the guest built does not run here"
}
