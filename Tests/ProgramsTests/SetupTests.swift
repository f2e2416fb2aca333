import ControlTestSupport
import Foundation
import Testing

/// Folders over others, for one program and its children.
enum MountNamespace {
    static let isAllowed =
        geteuid() == 0
        && (try? ShellCommand(["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]))?.status == 0
}

/// `deploy/setup.sh` with programs in apt's place, on a machine whose `/usr/sbin`, units and lists of packages are a folder's.
@Suite(.enabled(if: MountNamespace.isAllowed, "only root may mount folders over others"))
struct SetupTests {
    private let folder: TemporaryFolder
    private var policy: String { folder.path("sbin/policy-rc.d") }

    init() throws {
        folder = try TemporaryFolder()
        for name in ["programs", "sbin", "units", "lists"] {
            try FileManager.default.createDirectory(
                atPath: folder.path(name), withIntermediateDirectories: true)
        }
    }

    /// Runs the script where a library is missing, and nothing else.
    /// - Parameter programs: text of shell scripts by name.
    private func setup(_ programs: [String: String]) throws -> ShellCommand {
        let standard = [
            "swift": "echo 'Swift version 6.3'", "git": "", "mpirun": "", "ldconfig": "echo libdnnl.so.2",
            "systemctl": "",
            "pkg-config": "[ \"$2\" != openblas ]", "apt-get": "", "apt-cache": "exit 100",
        ]
        for (name, text) in standard.merging(programs, uniquingKeysWith: { $1 }) {
            let path = folder.path("programs/\(name)")
            try "#!/bin/sh\n\(text)\n".write(toFile: path, atomically: true, encoding: .utf8)
            try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
        }
        let script = Repository.root.appending(path: "deploy/setup.sh").path
        let mounted =
            "mount --bind \"$1/sbin\" /usr/sbin && mount --bind \"$1/units\" /lib/systemd/system "
            + "&& mount --bind \"$1/lists\" /var/lib/apt/lists && exec sh \"$2\""
        return try ShellCommand(
            ["unshare", "--mount", "sh", "-c", mounted, "sh", folder.url.path, script],
            environment: ["PATH": "\(folder.path("programs")):/usr/bin:/bin", "TMPDIR": folder.url.path])
    }

    private func isThere(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }

    /// As Ctrl-C does, and the end of a session.
    @Test(arguments: ["TERM", "HUP"]) func interruptedItLeavesNoPolicy(signal: String) throws {
        let result = try setup(["apt-get": "cp \(policy) \(folder.path("seen")) && kill -\(signal) $PPID; exit 1"])
        #expect(
            result.status == 1 && result.output.contains("apt-get could not install libopenblas-dev"),
            "\(result.output)")
        #expect(try String(contentsOfFile: folder.path("seen"), encoding: .utf8).hasSuffix("\nexit 101\n"))
        #expect(!isThere(policy))
    }

    @Test func whatAKilledRunLeftGoes() throws {
        try "#!/bin/sh\n# Setup of moe, process 999999999\nexit 101\n".write(
            toFile: policy, atomically: true, encoding: .utf8)
        _ = try setup([:])
        #expect(!isThere(policy))
        // Another run's, and an administrator's, stay.
        for text in ["# Setup of moe, process \(getpid())\n", "exit 101\n"] {
            try text.write(toFile: policy, atomically: true, encoding: .utf8)
            _ = try setup([:])
            #expect(try String(contentsOfFile: policy, encoding: .utf8) == text)
        }
    }

    @Test func newServicesDoNotStartAtTheNextBoot() throws {
        try Data().write(to: folder.url.appending(path: "units/munge.service"))
        let result = try setup([
            "apt-get": "[ $1 = update ] || touch \(folder.path("units"))/slurmd.service",
            "systemctl": "echo \"$*\" >>\(folder.path("systemctl"))",
        ])
        // It looks whether what apt installed is there.
        #expect(result.status == 1 && result.output.contains("still missing"), "\(result.output)")
        #expect(try String(contentsOfFile: folder.path("systemctl"), encoding: .utf8) == "disable slurmd\n")
    }

    @Test func goesOnWithoutWhatIsOptional() throws {
        try Data().write(to: folder.url.appending(path: "lists/debian_main_binary-amd64_Packages"))
        let complete = ["pkg-config": "", "ldconfig": ""]
        let unknown = try setup(complete.merging(["apt-get": "touch \(folder.path("asked"))"]) { $1 })
        #expect(unknown.status == 0, "\(unknown.output)")
        #expect(unknown.output == "setup: going on without libdnnl-dev, which is optional\n")
        #expect(!isThere(folder.path("asked")))
        let failed = try setup(complete.merging(["apt-cache": "", "apt-get": "echo 'E: none'; exit 100"]) { $1 })
        #expect(failed.status == 0 && failed.output.contains("E: none\n"), "\(failed.output)")
    }

    /// apt-cache knows of nothing before apt-get has read what there is.
    @Test func readsListsBeforeItLooksForWhatIsOptional() throws {
        let calls = folder.path("calls")
        let result = try setup([
            "pkg-config": "", "ldconfig": "",
            "apt-get": "echo \"$*\" >>\(calls); [ $1 != update ] || touch \(folder.path("lists"))/x_Packages",
            "apt-cache": "ls \(folder.path("lists"))/x_Packages",
        ])
        #expect(result.status == 0 && result.output.contains("setup: installing libdnnl-dev\n"), "\(result.output)")
        let text = try String(contentsOfFile: calls, encoding: .utf8)
        #expect(text.hasSuffix("update -q\ninstall -qy --no-install-recommends libdnnl-dev\n"), "\(text)")
    }
}
