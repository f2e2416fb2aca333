#!/bin/sh
# Feeds the targets of Tests/Fuzzing/Targets with what libFuzzer makes up: all of them at a time, for SECONDS each (60). Before
# that it has to find the canary. What it finds goes to .build-fuzz/found; once mended, keep it in Tests/Fuzzing/Regressions.
#
# Needs the build of the tests: only the modules that are fuzzed are compiled again, with sanitizers.
set -eu
cd "$(dirname "$0")/../.."
seconds=${1:-60}
targets=${TARGETS:-frames handshake requests replies}
swift=${SWIFT:-swift}
folder=.build-fuzz
fuzzer=$folder/fuzzer
sanitizers=-sanitize=fuzzer,address

fail() { echo "fuzz.sh: $1" >&2; exit 1; }

# To libFuzzer 0 means no end.
case $seconds in
0* | *[!0-9]* | '') fail "it runs for a number of seconds, at least 1, not for '$seconds'" ;;
esac

# MODULE FOLDER
compile() {
    ${swift}c -O -wmo -parse-as-library $sanitizers -swift-version 6 -package-name fuzzing -enable-upcoming-feature ExistentialAny \
        -enable-upcoming-feature MemberImportVisibility -enable-experimental-feature Lifetimes -I $folder -I "$binaries/Modules" \
        $(find Sources/CGlibc .build/checkouts/swift-crypto/Sources .build/checkouts/FlyingFox -name module.modulemap |
            sed 's/^/-Xcc -fmodule-map-file=/') \
        -module-name $1 -emit-module -emit-module-path $folder/$1.swiftmodule -c -o $folder/$1.o $(find $2 -name '*.swift')
}

# After a failure the shell goes on by itself, since it is asked whether the whole failed.
build() {
    binaries=$($swift build -c release --show-bin-path) || return
    # From here, for the way here may have spaces.
    binaries=${binaries#"$(pwd -P)/"}
    rm -f $fuzzer $folder/*.o $folder/*.swiftmodule
    for module in ExpertPlacement ControlProtocol CoordinatorCore; do compile $module Sources/$module || return; done
    compile FuzzTargets Tests/Fuzzing/Targets || return
    compile Fuzzer Tests/Fuzzing/Fuzzer || return
    ${swift}c $sanitizers -o $fuzzer $folder/*.o $(for module in Crypto CryptoBoringWrapper CCryptoBoringSSL CCryptoBoringSSLShims \
        CXKCP CXKCPShims FlyingSocks CSystemLinux; do find "$binaries/$module.build" -name '*.o'; done)
}

mkdir -p $folder
sources="Package.swift Package.resolved Sources Tests/Fuzzing/Fuzzer Tests/Fuzzing/Targets Tests/Fuzzing/fuzz.sh"
if [ ! -x $fuzzer ] || [ -n "$(find $sources -type f -newer $fuzzer)" ]; then
    build >$folder/build.log 2>&1 || { cat $folder/build.log >&2; fail "the fuzzer was not built"; }
fi

# Swift's own reports of crashes wait for a debugger; libFuzzer's are enough.
export SWIFT_BACKTRACE=enable=no ASAN_OPTIONS=detect_leaks=0:symbolize=0
rm -rf $folder/found $folder/corpus/canary
mkdir -p $folder/found
fuzz() {
    mkdir -p $folder/corpus/$1
    MOE_FUZZ_TARGET=$1 $fuzzer -max_total_time=$2 -max_len=4096 -timeout=10 -rss_limit_mb=2048 -detect_leaks=0 \
        -print_final_stats=1 -artifact_prefix=$folder/found/$1- $folder/corpus/$1 $3 >$folder/$1.log 2>&1
}

if fuzz canary 60 '' || ! grep -q 'MoE!' $folder/found/canary-crash-*; then
    fail "the canary lives; the fuzzer finds nothing (see $folder/canary.log)"
fi
rm $folder/found/canary-*

# The messages that the tests know are where it begins.
for target in requests replies; do
    mkdir -p $folder/corpus/$target
    awk -v folder=$folder/corpus/$target '{ printf "%s", $0 > (folder "/message-" NR); close(folder "/message-" NR) }' \
        Tests/ControlProtocolTests/Golden/messages.jsonl
done
running=
for target in $targets; do
    fuzz $target $seconds Tests/Fuzzing/Regressions/$target &
    running="$running $target:$!"
done
failed=0
for process in $running; do
    target=${process%%:*}
    wait ${process##*:} || { failed=1; echo "fuzz.sh: $target ended early; see $folder/$target.log" >&2; }
    seed=$(sed -n 's/^INFO: Seed: //p' $folder/$target.log)
    inputs=$(sed -n 's/^stat::number_of_executed_units: *//p' $folder/$target.log)
    echo "fuzz $target: seed $seed, $inputs inputs in $seconds s"
    [ "${inputs:-0}" -gt 0 ] || { failed=1; echo "fuzz.sh: $target was given nothing; see $folder/$target.log" >&2; }
done
for found in $folder/found/*; do
    [ -e "$found" ] || continue
    failed=1
    target=$(basename $found | sed 's/-.*//')
    echo "fuzz.sh: $found ends the process; see $folder/$target.log" >&2
    echo "fuzz.sh: again: SWIFT_BACKTRACE=enable=no MOE_FUZZ_TARGET=$target $fuzzer $found" >&2
done
exit $failed
