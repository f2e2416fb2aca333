import ControlProtocol
import ControlTestSupport
import Foundation
import Settings
import Testing

/// The annotated configurations in `deploy/config`.
@Suite(.serialized) struct ConfigurationExampleTests {
    private static let folder = Repository.root.appending(path: "deploy/config")
    private let inputs: WorkerInputs

    init() throws { inputs = try WorkerInputs() }

    private struct Entry {
        let key: String
        let line: String
        let isComment: Bool
    }

    /// The keys of an example, those that are commented out as well.
    private static func entries(_ name: String) throws -> [Entry] {
        let text = try String(contentsOf: folder.appending(path: name), encoding: .utf8)
        return text.split(separator: "\n").compactMap { line in
            guard let match = line.wholeMatch(of: #/(#?)(([a-z][a-z0-9_-]*): *[^ ].*)/#) else { return nil }
            return Entry(key: "\(match.3)", line: "\(match.2)", isComment: !match.1.isEmpty)
        }
    }

    /// All that an example tells of, each key once, as a file.
    private func everything(_ name: String, without left: [String] = []) throws -> String {
        var keys: Set<String> = []
        let entries = try Self.entries(name).filter { !left.contains($0.key) && keys.insert($0.key).inserted }
        let path = inputs.path(name)
        try entries.map { $0.line + "\n" }.joined().write(toFile: path, atomically: true, encoding: .utf8)
        return path
    }

    /// Long names of the options of a program's command.
    private static func options(_ program: String, _ command: String) throws -> Set<String> {
        let help = try RunningProgram(program, ["--experimental-dump-help"])
        _ = help.waitForEnd()
        let root = try JSONDecoder().decode(ToolInfo.self, from: Data(help.text.utf8)).command
        let arguments = root.subcommands?.first { $0.commandName == command }?.arguments ?? []
        return Set(arguments.filter(\.shouldDisplay).compactMap { $0.names?.first { $0.kind == "long" }?.name })
    }

    @Test(arguments: [
        ("worker.yaml", "moe-worker", "train", ["config", "dry-run", "format", "help", "rank", "version"]),
        ("coordinator.yaml", "moe-coordinator", "serve", ["config", "help", "version"]),
    ])
    func examplesNameEveryOption(file: String, program: String, command: String, left: [String]) throws {
        let keys = Set(try Self.entries(file).map(\.key))
        let missing = try Self.options(program, command).subtracting(keys).subtracting(left)
        #expect(missing.isEmpty, "add these to deploy/config/\(file): \(missing.sorted())")
    }

    /// What stands there is understood: the programs end for want of the files it names.
    @Test func examplesAreUnderstood() throws {
        let worker = try RunningProgram(
            "moe-worker",
            [
                "--config", everything("worker.yaml", without: ["model", "placement-replay"]), "--coordinator-timeout",
                "0.1",
            ])
        #expect(worker.waitForEnd() == 1 && worker.text.contains("/var/lib/moe/shared"), "\(worker.text)")
        let generator = try RunningProgram("moe-worker", ["generate", "--config", everything("worker.yaml")])
        #expect(
            generator.waitForEnd() == 1 && generator.text.contains("/var/lib/moe/shared/model"), "\(generator.text)")
        let coordinator = try RunningProgram(
            "moe-coordinator", ["serve", "--config", everything("coordinator.yaml", without: ["backup_directory"])])
        #expect(
            coordinator.waitForEnd() == 1 && coordinator.text.contains("/etc/moe/worker.key"), "\(coordinator.text)")
        let ctl = try CtlProgram(["run", "list"], environment: ["MOE_CTL_CONFIG": everything("ctl.yaml")])
        #expect(ctl.status == 1 && ctl.errors.contains("/home/me/operator.key"), "\(ctl.errors)")
    }

    @Test func unknownKeysNameTheNearest() throws {
        let file = inputs.path("wrong.yaml")
        try "databse: moe.db\n".write(toFile: file, atomically: true, encoding: .utf8)
        let coordinator = try RunningProgram("moe-coordinator", ["serve", "--config", file])
        #expect(coordinator.waitForEnd() == 64 && coordinator.text.contains("did you mean \"database\"?"))
        try "coordinater: x\n".write(toFile: file, atomically: true, encoding: .utf8)
        let ctl = try CtlProgram(["run", "list"], environment: ["MOE_CTL_CONFIG": file])
        #expect(ctl.status == 64 && ctl.errors.contains("did you mean \"coordinator\"?"), "\(ctl.errors)")
    }

    /// Starting the coordinator again would not help, so systemd does not.
    @Test(arguments: [
        "planning: {interval_steps: 0}", "allocators: {a: {command: []}}", "telemetry_days: a month",
        "backup_directory: /nonexistent", "listen: [1, 2]",
    ])
    func wrongValuesAreWrongUsage(text: String) throws {
        let file = inputs.path("wrong.yaml")
        try text.write(toFile: file, atomically: true, encoding: .utf8)
        let coordinator = try RunningProgram(
            "moe-coordinator", ["serve", "--database", inputs.path("moe.db"), "--http", "none", "--config", file])
        #expect(coordinator.waitForEnd() == 64, "\(coordinator.text)")
        #expect(coordinator.text.contains(file) && coordinator.text.contains("Error: "), "\(coordinator.text)")
        #expect(!FileManager.default.fileExists(atPath: inputs.path("moe.db")))
    }

    /// As the specification has it: https://specifications.freedesktop.org/basedir-spec/latest/
    @Test(arguments: ["", "relative"]) func anEmptyConfigurationHomeIsNone(home: String) throws {
        let coordinator = try CtlStubCoordinator(CtlSamples(now: .now()).answer)
        defer { coordinator.stop() }
        let file = inputs.folder.appending(path: ".config/moe/ctl.yaml")
        try FileManager.default.createDirectory(
            at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
        try "coordinator: \(coordinator.address)\nformat: json\n".write(to: file, atomically: true, encoding: .utf8)
        let call = try CtlProgram(
            ["run", "list"], environment: ["XDG_CONFIG_HOME": home, "HOME": inputs.folder.path])
        #expect(call.status == 0 && call.output.hasPrefix("{"), "\(call.errors)")
    }

    /// Flag > environment > the user's file > the machine's.
    @Test func toolsHaveAFileOfTheirOwn() throws {
        let coordinator = try CtlStubCoordinator(CtlSamples(now: .now()).answer)
        defer { coordinator.stop() }
        let file = inputs.folder.appending(path: "moe/ctl.yaml")
        try FileManager.default.createDirectory(
            at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
        try "coordinator: \(coordinator.address)\nformat: json\n".write(to: file, atomically: true, encoding: .utf8)
        for variables in [["MOE_CTL_CONFIG": file.path], ["XDG_CONFIG_HOME": inputs.folder.path]] {
            let json = try CtlProgram(["run", "list"], environment: variables)
            #expect(json.status == 0 && json.output.hasPrefix("{"), "\(json.errors)")
            let yaml = try CtlProgram(["run", "list"], environment: variables.merging(["MOE_FORMAT": "yaml"]) { $1 })
            #expect(yaml.output.contains("runs:"), "\(yaml.output)")
            let table = try CtlProgram(
                ["run", "list", "-o", "table"], environment: variables.merging(["MOE_FORMAT": "yaml"]) { $1 })
            #expect(table.output.hasPrefix("RUN"), "\(table.output)")
            // A command without a coordinator does not mind.
            #expect(
                try CtlProgram(["key", "generate", inputs.path(UUID().uuidString)], environment: variables).status == 0)
        }
    }
}
