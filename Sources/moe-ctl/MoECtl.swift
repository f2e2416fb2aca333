import ArgumentParser
import BuildInformation
import Files
import Foundation
import Settings

/// The operator's and the researcher's tool.
@main
struct MoECtl: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "moe-ctl",
        abstract:
            "Prepare data and models, and look after runs, workers, expert placement, checkpoints and the database.",
        discussion: """
            Output goes to stdout, errors and notes go to stderr. Exit codes: 0 done, 1 failed, 64 wrong usage, \
            69 coordinator unreachable, 77 refused by the coordinator.

            The coordinator, the key file and the form of the output can also be set in the environment (MOE_COORDINATOR, \
            MOE_KEY_FILE, MOE_FORMAT), and in a YAML file (coordinator, key-file, format): the one that MOE_CTL_CONFIG \
            names, or ~/.config/moe/ctl.yaml, or /etc/moe/ctl.yaml.
            """,
        version: BuildInformation.version,
        subcommands: [
            DataCommands.self, RunCommands.self, PlacementCommands.self, WorkerCommands.self, EventCommands.self,
            CheckpointCommands.self, ModelCommands.self, WatchCommand.self, TraceCommands.self, SimulateCommand.self,
            DatabaseCommands.self,
            KeyCommands.self,
        ])

    static func main() async {
        do {
            var command = try Settings.parse(
                Self.self, keys: ["coordinator", "key-file", "format"], file: configurationFile())
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
        } catch let error as SettingsError {
            exit(withError: ValidationError(error.description))
        } catch let error as FileError where error == StandardOutput.isClosed {
            // Whoever read it has what it wanted.
            exit(withError: ExitCode.success)
        } catch {
            guard let failure = CommandFailure(error) else { exit(withError: error) }
            StandardError.write("Error: \(failure.message)")
            exit(withError: ExitCode(failure.code))
        }
    }

    /// The file that the environment names, or the first of the usual ones that is there.
    private static func configurationFile() -> String? {
        let environment = ProcessInfo.processInfo.environment
        if let file = environment["MOE_CTL_CONFIG"] { return file.isEmpty ? nil : file }
        // One that is empty or relative counts as none (https://specifications.freedesktop.org/basedir-spec/latest/).
        let named = environment["XDG_CONFIG_HOME"].flatMap { $0.hasPrefix("/") ? $0 : nil }
        let own = named ?? environment["HOME"].map { $0 + "/.config" }
        return [own, "/etc"].compactMap { $0.map { $0 + "/moe/ctl.yaml" } }.first(where: FileManager.default.fileExists)
    }
}
