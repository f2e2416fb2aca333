import ArgumentParser
import CoordinatorService
import Foundation

struct Restore: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make a database of a backup.",
        discussion: """
            The backup is copied, checked and brought to the newest schema. Revisions and incarnations that may have been \
            given out since it was made are skipped. Move the old database away first: none is replaced.
            """)

    @Argument(help: "A file that moe-ctl database backup made.")
    var backup: String

    @Option(help: ArgumentHelp("The database to make.", valueName: "file"))
    var database: String = "moe.db"

    func run() async throws {
        let runs = try CoordinatorStore.restore(backup, to: database)
        FileHandle.standardError.write(
            Data("moe-coordinator: \(database) has \(runs) run\(runs == 1 ? "" : "s") of \(backup)\n".utf8))
    }
}
