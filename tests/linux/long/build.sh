# shellcheck shell=bash disable=SC2154,SC2034
# A developer's work in a folder that is shared: hutch itself. What takes the build machine a second
# takes a guest in the lab a minute: so nothing is optimised. With a network, tap and loop devices all
# programs of the unit suite have what they test.

limits[hutch_is_built_and_tested_in_a_guest_of_its_own]=9000
hutch_is_built_and_tested_in_a_guest_of_its_own() {
    needs meson ninja gcc passt
    pull_kernel
    make_outer_network
    local top=${BASH_SOURCE[0]%/*}/../../.. programs
    mkdir tree && cd tree || exit
    tar -C "$top" --exclude='./.*' --exclude='./build*' --exclude=corpus -cf - . | tar -xmf -
    cat >script <<'END'
set -e
modprobe -a tun loop
meson setup build --buildtype=plain
ninja -C build
build/hutch version
echo "programs: $(meson test -C build --no-rebuild --list --suite unit | grep -c ' / ')"
meson test -C build --no-rebuild --print-errorlogs --timeout-multiplier 20 --suite unit
END
    run_command -c 1 -m 1G -n user -- sh script
    expect_status 0
    programs=$(sed -n 's/^programs: //p' console)
    [[ $programs -gt 60 ]] || fail "the unit suite has $programs programs"
    expect_console "^Ok: +$programs *$"
    expect_console '^Fail: +0 *$'
    expect_console "^$("$HUTCH" version)"
    [[ $(build/hutch version) == "$("$HUTCH" version)" ]] || fail "what the guest built does not run here"
}
