import ControlTestSupport
import Foundation
import Testing

/// What `make install` and `make deb` make.
@Suite(
    .serialized,
    .enabled(if: DebianPackage.obstacle == nil, Comment(rawValue: "no package here: \(DebianPackage.obstacle ?? "")")))
struct PackageTests {
    private static let programs = ["moe-coordinator", "moe-worker", "moe-ctl"]
    private let package: DebianPackage
    private let inputs: WorkerInputs

    init() throws {
        package = try DebianPackage.shared.get()
        inputs = try WorkerInputs()
    }

    private func path(_ name: String) -> String { package.tree.appending(path: name).path }

    /// Ours, and `variables`.
    private static func environment(with variables: [String: String]) -> [String: String] {
        ProcessInfo.processInfo.environment.merging(variables) { $1 }
    }

    @Test func lintianHasNothingToSay() throws {
        let lintian = try ShellCommand(["lintian", "--allow-root", "--fail-on=error,warning", package.file.path])
        #expect(lintian.status == 0 && lintian.output.isEmpty, "\(lintian.output)")
    }

    @Test func dependsOnWhatItIsLinkedWith() throws {
        let depends = try ShellCommand(["dpkg-deb", "-f", package.file.path, "Depends"]).output
        for library in ["libopenmpi3", "libopenblas0", "libsqlite3-0", "libcurl4", "libc6"] {
            #expect(depends.contains(library), "\(depends)")
        }
        let conffiles = try ShellCommand(["dpkg-deb", "-I", package.file.path, "conffiles"]).output
        for name in ["coordinator.yaml", "coordinator.env", "worker.yaml", "worker.env", "mpi-server.env", "ctl.yaml"] {
            #expect(conffiles.contains("/etc/moe/\(name)\n"), "\(conffiles)")
        }
    }

    /// In no order that a disk happens to have.
    @Test func checksumsAreSorted() throws {
        let sums = try ShellCommand(["dpkg-deb", "-I", package.file.path, "md5sums"]).output
        let paths = sums.split(separator: "\n").compactMap { $0.split(separator: " ").last.map { Array($0.utf8) } }
        #expect(paths.count > 50 && !zip(paths, paths.dropFirst()).contains { $1.lexicographicallyPrecedes($0) })
    }

    /// On a machine without Swift.
    @Test func programsRunWithoutSwift() throws {
        let bare = ["PATH": "/usr/bin:/bin", "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"]
        for program in Self.programs {
            let libraries = try ShellCommand(["ldd", path("usr/bin/\(program)")], environment: bare).output
            #expect(!libraries.contains("swift") && !libraries.contains("Foundation"), "\(libraries)")
            #expect(!libraries.contains("not found"), "\(libraries)")
            #expect(try ShellCommand([path("usr/bin/\(program)"), "--help"], environment: bare).status == 0)
        }
        let made = try ShellCommand(
            [path("usr/bin/moe-ctl"), "key", "generate", inputs.path("key")], environment: bare)
        #expect(made.status == 0, "\(made.output)")
        let job = try ShellCommand(
            ["mpirun", "-n", "2", "--oversubscribe", path("usr/bin/moe-worker")]
                + inputs.arguments(["--metrics": inputs.path("metrics.jsonl")]), environment: bare)
        #expect(job.status == 0 && job.output.contains("step 3/3"), "\(job.output)")
        // The coordinator gets as far as the network.
        let coordinator = try ShellCommand(
            [
                path("usr/bin/moe-coordinator"), "serve", "--database", inputs.path("moe.db"), "--listen",
                "no-such-host.invalid:0",
            ], environment: bare)
        #expect(coordinator.status == 1 && coordinator.output.contains("cannot be resolved"), "\(coordinator.output)")
    }

    @Test func manualPagesAndCompletionsAreSound() throws {
        for program in Self.programs {
            let page = path("usr/share/man/man1/\(program).1.gz")
            let lint = try ShellCommand(["mandoc", "-T", "lint", "-W", "warning", page])
            #expect(lint.status == 0 && lint.output.isEmpty, "\(lint.output)")
            let text = try ShellCommand(["sh", "-c", "mandoc -T ascii \(page) | col -b"]).output
            #expect(text.contains("EXIT STATUS") && text.contains("SEE ALSO"))
            let completion = path("usr/share/bash-completion/completions/\(program)")
            let answer = try ShellCommand(["bash", "-c", ". \(completion) && complete -p \(program)"])
            #expect(answer.status == 0 && answer.output.contains(program), "\(answer.output)")
            for other in ["zsh/vendor-completions/_\(program)", "fish/vendor_completions.d/\(program).fish"] {
                let text = try String(contentsOfFile: path("usr/share/\(other)"), encoding: .utf8)
                #expect(text.contains("key-file"), "\(other)")
            }
        }
    }

    /// What pages tell of is where they tell.
    @Test func pagesComeWithWhatTheyShow() throws {
        let pages = package.tree.appending(path: "usr/share/doc/moe-training")
        var (pictures, links) = (0, 0)
        for name in try FileManager.default.contentsOfDirectory(atPath: pages.path) where name.hasSuffix(".md") {
            let page = try String(contentsOf: pages.appending(path: name), encoding: .utf8)
            for match in page.matches(of: #/!\[[^\]]*\]\(([^)]+)\)|<img src="([^"]+)"/#) {
                let picture = String(match.output.1 ?? match.output.2 ?? "")
                pictures += 1
                #expect(
                    FileManager.default.fileExists(atPath: pages.appending(path: picture).path), "\(name): \(picture)")
            }
            for match in page.matches(of: #/\]\(([^)#]+)/#) where !match.output.1.hasPrefix("http") {
                let target = String(match.output.1)
                links += 1
                #expect(
                    FileManager.default.fileExists(atPath: pages.appending(path: target).path), "\(name): \(target)")
            }
        }
        #expect(pictures >= 6 && links >= 100)
        let client = try ShellCommand(
            ["python3", "-B", "-c", "from moe_coordinator import Client, Job"],
            environment: Self.environment(with: ["PYTHONPATH": path("usr/share/moe-training/python")]))
        #expect(client.status == 0, "\(client.output)")
        for example in ["pytorch_job.py", "least_loaded.py"] {
            #expect(FileManager.default.fileExists(atPath: pages.appending(path: "examples/\(example)").path))
        }
    }

    private func script(_ text: String, as name: String) throws {
        let file = inputs.folder.appending(path: name)
        try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
        try "#!/bin/sh\n\(text)\n".write(to: file, atomically: true, encoding: .utf8)
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: file.path)
    }

    private func build(_ name: String, _ argument: String, _ variables: [String: String]) throws -> ShellCommand {
        try ShellCommand(
            ["sh", Repository.root.appending(path: name).path, argument],
            environment: Self.environment(with: variables))
    }

    /// A program that fails is not taken for one with nothing to say.
    @Test(arguments: ["--experimental-dump-help", "--generate-completion-script"])
    func whatCannotBeGeneratedIsNotInstalled(option: String) throws {
        for program in Self.programs {
            let fails = program == "moe-ctl" ? "[ \"$1\" != \(option) ] || exit 3; " : ""
            try script("\(fails)exec \(path("usr/bin/\(program)")) \"$@\"", as: "programs/\(program)")
        }
        let made = try build(
            "deploy/install.sh", "install", ["PROGRAMS": inputs.path("programs"), "DESTDIR": inputs.path("root")])
        #expect(made.status == 3, "\(made.output)")
    }

    @Test func packagesHaveDependenciesOrAreNotMade() throws {
        try script("echo no library >&2; exit 2", as: "tools/dpkg-shlibdeps")
        let made = try build(
            "deploy/debian/build.sh", inputs.path("packages"),
            ["PROGRAMS": path("usr/bin"), "PATH": "\(inputs.path("tools")):/usr/bin:/bin"])
        #expect(made.status == 1 && made.output == "no library\n", "\(made.output)")
    }

    @Test func installedFilesAreTakenAwayAgain() throws {
        let root = inputs.path("root")
        let environment = Self.environment(with: ["DESTDIR": root, "PREFIX": "/opt/moe"])
        func make(_ target: String) throws {
            let made = try ShellCommand(DebianPackage.make + [target], environment: environment)
            #expect(made.status == 0, "\(made.output)")
        }
        try make("install")
        let unit = try String(
            contentsOfFile: root + "/opt/moe/lib/systemd/system/moe-coordinator.service", encoding: .utf8)
        #expect(unit.contains("ExecStart=/opt/moe/bin/moe-coordinator serve"))
        // What the administrator wrote stays.
        let configuration = root + "/etc/moe/ctl.yaml"
        try "format: json\n".write(toFile: configuration, atomically: true, encoding: .utf8)
        try make("install")
        #expect(try String(contentsOfFile: configuration, encoding: .utf8) == "format: json\n")

        try make("uninstall")
        let left = try ShellCommand(["find", root, "-type", "f", "-not", "-path", "*/etc/moe/*"]).output
        #expect(left.isEmpty, "\(left)")
        #expect(try String(contentsOfFile: configuration, encoding: .utf8) == "format: json\n")
    }

    /// Root's PATH may have no Swift, and files of root's in `.build` would be in the way.
    @Test func throughSudoNothingIsBuilt() throws {
        let environment = Self.environment(with: ["DESTDIR": inputs.path("root"), "SUDO_USER": "somebody"])
        let made = try ShellCommand(DebianPackage.make + ["SWIFT=false", "install"], environment: environment)
        #expect(made.status == 0, "\(made.output)")
        #expect(FileManager.default.isExecutableFile(atPath: inputs.path("root/usr/local/bin/moe-worker")))
        let refused = try build("deploy/install.sh", "install", ["PROGRAMS": inputs.path("none")])
        #expect(refused.status == 1 && refused.output.contains("make static comes first"), "\(refused.output)")
    }

    @Test func whoIsNotRootHasConfigurationsBesideThePrograms() throws {
        try script("echo 1000", as: "tools/id")
        let home = inputs.path("home")
        let variables = [
            "PROGRAMS": path("usr/bin"), "PREFIX": home, "PATH": "\(inputs.path("tools")):/usr/bin:/bin",
        ]
        let made = try build("deploy/install.sh", "install", variables)
        #expect(made.status == 0, "\(made.output)")
        #expect(FileManager.default.fileExists(atPath: home + "/etc/moe/worker.yaml"))
        let unit = try String(contentsOfFile: home + "/lib/systemd/system/moe-worker@.service", encoding: .utf8)
        #expect(unit.contains("--config \(home)/etc/moe/worker.yaml"), "\(unit)")
        let removed = try build("deploy/install.sh", "uninstall", variables)
        #expect(removed.output == "uninstall: \(home)/etc/moe stays\n", "\(removed.output)")
    }

    @Test func unitsAreSound() throws {
        let units = package.tree.appending(path: "lib/systemd/system")
        let names = try FileManager.default.contentsOfDirectory(atPath: units.path).sorted()
        #expect(names == ["moe-coordinator.service", "moe-mpi-server.service", "moe-worker@.service", "moe.target"])
        // Where its commands are, with those of this machine.
        let commands = inputs.folder.appending(path: "units")
        try FileManager.default.createDirectory(at: commands, withIntermediateDirectories: true)
        for name in names {
            let text = try String(contentsOf: units.appending(path: name), encoding: .utf8)
            try text.replacing("/usr/bin/moe-", with: path("usr/bin/moe-")).write(
                to: commands.appending(path: name), atomically: true, encoding: .utf8)
        }
        let files = names.map { commands.appending(path: $0.replacing("@", with: "@0")).path }
        try FileManager.default.moveItem(
            at: commands.appending(path: "moe-worker@.service"), to: commands.appending(path: "moe-worker@0.service"))
        let verified = try ShellCommand(["systemd-analyze", "verify", "--man=no"] + files)
        let complaints = verified.output.split(separator: "\n").filter { $0.contains("moe") }
        #expect(complaints.isEmpty, "\(verified.output)")
        for file in files where file.hasSuffix(".service") {
            // 2.0 at most.
            let security = try ShellCommand(
                ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", file])
            #expect(security.status == 0, "\(security.output)")
            // What one unit leaves in /dev/shm is not told from what others of the user have there.
            #expect(try !String(contentsOfFile: file, encoding: .utf8).contains("\nRemoveIPC="), "\(file)")
        }
    }
}
