import Foundation

/// A machine with a systemd of its own, in namespaces of this one: its files are this machine's, and what it writes is its own and
/// goes with it. It has a network of its own with a loopback interface alone.
///
/// The first process outside of the namespaces reads a pipe from here. Whatever happens to the tests, the pipe ends with
/// them, that process with the pipe, systemd with that process, and all others with systemd.
final class SystemdMachine {
    private let folder: URL
    private let process = Process()
    private let lifeline = Pipe()
    private let deadline = ContinuousClock.now + .seconds(240)
    /// systemd, as this machine sees it.
    private let first: Int32

    /// Why there can be none on this machine; nil when there can.
    static let obstacle: String? = {
        if geteuid() != 0 { return "only root may start systemd" }
        for program in ["/lib/systemd/systemd", "/usr/bin/dpkg", "/usr/bin/nsenter", "/usr/bin/ompi-server"]
        where !FileManager.default.isExecutableFile(atPath: program) {
            return "there is no \(program): run deploy/setup.sh test"
        }
        guard
            let trial = try? ShellCommand(["unshare"] + namespaces + ["sh", "-c", mounts + "true", "sh", "/tmp", ""]),
            trial.status == 0
        else { return "this machine lets nobody mount file systems of his own" }
        return nil
    }()

    private static let namespaces = [
        "--fork", "--pid", "--mount", "--cgroup", "--ipc", "--uts", "--net", "--kill-child",
    ]

    /// Makes "$1" the root directory: this machine's files, under those that change, and the file systems that systemd wants.
    private static let mounts = """
        set -e
        mount -t tmpfs tmpfs "$1"
        mkdir "$1/changes" "$1/work" "$1/root"
        mount -t overlay -o lowerdir=/,upperdir="$1/changes",workdir="$1/work" overlay "$1/root"
        cd "$1/root"
        mount -t proc proc proc
        mount -t sysfs sysfs sys
        mount -t cgroup2 cgroup2 sys/fs/cgroup
        mount --rbind /dev dev
        for directory in dev/shm run tmp; do mount -t tmpfs tmpfs $directory; done
        [ -z "$2" ] || cp -r "$2/." tmp/
        mkdir tmp/old
        pivot_root . tmp/old
        cd /
        umount -l /tmp/old

        """

    /// Boots a machine on which only `moe.target` is wanted.
    /// - Parameters:
    ///   - files: a folder of what is in its `/tmp`; Debian packages there are installed.
    ///   - preparation: a script that runs after that.
    init(files: URL, preparation: String) throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "machine-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let boot =
            Self.mounts + """
                # Nothing of what this machine wants, and no word of which services packages may start and stop, as containers have it.
                rm -rf /etc/systemd/system/*.wants /usr/sbin/policy-rc.d
                { dpkg --force-depends --install /tmp/*.deb && printf '%s' "$3" | sh -ex; } >/tmp/log 2>&1 || {
                    cat /tmp/log
                    exit 1
                }
                printf '[Unit]\\nRequires=moe.target\\nAfter=moe.target\\n' >/etc/systemd/system/test.target
                export container=test
                exec /lib/systemd/systemd --system --unit=test.target --log-target=null --show-status=no

                """
        // `cat` ends when this process does.
        let script =
            "unshare \(Self.namespaces.joined(separator: " ")) sh -c \"$3\" sh \"$1\" \"$2\" \"$4\" </dev/null >&2 & "
            + "echo $!; cat >/dev/null; kill -KILL $!"
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = ["-c", script, "sh", folder.path, files.path, boot, preparation]
        let output = Pipe()
        process.standardOutput = output
        process.standardInput = lifeline
        try RunningProgram.withoutBlockedSignals { [process] in try process.run() }
        _ = fcntl(lifeline.fileHandleForWriting.fileDescriptor, F_SETFD, FD_CLOEXEC)
        let line = String(decoding: output.fileHandleForReading.availableData, as: UTF8.self)
        let unshare = Int32(line.trimmingCharacters(in: .whitespacesAndNewlines)) ?? 0
        var children: [Int32] = []
        while children.isEmpty {
            children = ProcessTable.children(of: unshare)
            guard ContinuousClock.now < deadline, process.isRunning else { throw Failure(text: "no namespaces") }
        }
        first = children[0]
    }

    deinit {
        try? lifeline.fileHandleForWriting.close()
        process.waitUntilExit()
        try? FileManager.default.removeItem(at: folder)
    }

    /// Runs a command on the machine, in a shell, as root.
    func run(_ command: String) throws -> ShellCommand {
        try ShellCommand(["nsenter", "--target", "\(first)", "--all", "sh", "-c", command])
    }

    /// Waits until a command succeeds. Returns its output.
    @discardableResult
    func wait(for what: String, until command: String) throws -> String {
        while true {
            let result = try run(command)
            if result.status == 0 { return result.output }
            guard ContinuousClock.now < deadline, kill(first, 0) == 0 else {
                let log = try run("systemctl --no-pager --failed; cat /run/moe.log").output
                throw Failure(text: "\(what): \(result.output)\n\(log)")
            }
            usleep(50_000)
        }
    }

    struct Failure: Error, CustomStringConvertible {
        let text: String
        var description: String { text }
    }
}
