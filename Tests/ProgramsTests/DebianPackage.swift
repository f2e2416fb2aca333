import ControlTestSupport
import Foundation

/// The Debian package of the programs that are built beside the tests, linked once more with Swift's libraries inside.
struct DebianPackage {
    let file: URL
    /// What it holds, unpacked.
    let tree: URL

    /// Why it cannot be made here; nil when it can.
    static let obstacle: String? = {
        let missing = ShellCommand.missing(
            "dpkg-deb", "dpkg-shlibdeps", "strip", "lintian", "mandoc", "systemd-analyze")
        return missing.isEmpty ? nil : "there is no \(missing.joined(separator: ", ")): run deploy/setup.sh test"
    }()

    /// The Makefile's command, which compiles nothing: the programs are there.
    static let make = ["make", "--no-print-directory", "-C", Repository.root.path, "SWIFT=true"]

    /// Made once.
    static let shared = Result { try DebianPackage() }

    private init() throws {
        let root = Repository.root.resolvingSymlinksInPath()
        // It is large, and stays until the next one.
        let folder = root.appending(path: ".build/package")
        try? FileManager.default.removeItem(at: folder)
        var environment = ProcessInfo.processInfo.environment
        // Quick rather than small.
        environment["DPKG_DEB_COMPRESSOR_TYPE"] = "gzip"
        environment["DPKG_DEB_COMPRESSOR_LEVEL"] = "1"
        // What is built already; a careful user's umask makes the same package.
        let command = ["sh", "-c", "umask 077 && exec \"$@\"", "sh"] + Self.make + ["deb", "PACKAGES=\(folder.path)"]
        let result = try ShellCommand(command, environment: environment)
        guard result.status == 0 else { throw Failure(output: result.output) }
        let files = try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
        guard let file = files.first(where: { $0.pathExtension == "deb" }) else { throw Failure(output: "\(files)") }
        self.file = file
        tree = folder.appending(path: "tree")
        let unpacked = try ShellCommand(["dpkg-deb", "-x", file.path, tree.path])
        guard unpacked.status == 0 else { throw Failure(output: unpacked.output) }
    }

    struct Failure: Error, CustomStringConvertible {
        let output: String
        var description: String { output }
    }
}
