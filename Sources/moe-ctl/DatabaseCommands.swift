import ArgumentParser
import ControlProtocol
import Listings

struct DatabaseCommands: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "database", abstract: "Look after the coordinator's database.", subcommands: [Backup.self])

    struct Backup: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "backup",
            abstract: "Copy the coordinator's database while it is in use.",
            discussion: """
                The copy is made on the coordinator's machine, in the directory that its configuration file names \
                (backup_directory). It is whole, checked and synced when the command ends. moe-coordinator restore makes \
                a database of it.
                """)

        /// Large databases on slow disks take minutes.
        private static let timeLimit = Duration.seconds(3_600)

        @Argument(help: ArgumentHelp("Name of the new file, without a directory.", valueName: "file-name"))
        var file: String
        @Flag(help: "Change nothing; show what would be.")
        var dryRun = false
        @OptionGroup var coordinator: CoordinatorOptions
        @OptionGroup var output: ListingOptions

        func validate() throws {
            guard BackupName.isValid(file) else { throw ValidationError("\(file): \(BackupName.rule)") }
        }

        func run() async throws {
            let request = BackUpDatabase(file: file, dryRun: dryRun)
            let reply = try await coordinator.ask { try await $0.send(request, timeout: Self.timeLimit) }
            try output.write(reply) {
                [.details([("Backup", reply.file), ("Size", Readable.bytes(reply.bytes))], isDryRun: dryRun)]
            }
        }
    }
}
