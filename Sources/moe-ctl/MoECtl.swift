import ArgumentParser

/// The operator's and the researcher's tool.
@main
struct MoECtl: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "moe-ctl",
        abstract: "Prepare data, and look after runs, workers, expert placement, checkpoints and the database.",
        discussion: """
            Output goes to stdout, errors and notes go to stderr. Exit codes: 0 done, 1 failed, 64 wrong usage, \
            69 coordinator unreachable, 77 refused by the coordinator.
            """,
        subcommands: [
            DataCommands.self, RunCommands.self, PlacementCommands.self, WorkerCommands.self, CheckpointCommands.self,
            DatabaseCommands.self, KeyCommands.self,
        ])

    static func main() async {
        do {
            var command = try parseAsRoot()
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
        } catch {
            guard let failure = CommandFailure(error) else { exit(withError: error) }
            StandardError.write("Error: \(failure.message)")
            exit(withError: ExitCode(failure.code))
        }
    }
}
