import ArgumentParser
import ControlProtocol
import Listings

extension RunCommands {
    struct Archive: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "archive",
            abstract: "Hide a run that has ended from listings.",
            discussion: """
                All of it stays; run list --all shows it, and it can be named. A further start of the run brings it back.
                """)

        @Argument(help: "Name of the run.")
        var run: String
        @OptionGroup var record: RecordOptions
        @OptionGroup var coordinator: CoordinatorOptions
        @OptionGroup var output: ListingOptions

        func run() async throws {
            let request = ArchiveRun(
                run: run, dryRun: record.dryRun, who: record.who, why: record.why(otherwise: "archived by an operator"))
            let reply = try await coordinator.ask { client in
                try await client.listingRunsIfUnknown { try await client.send(request) }
            }
            try output.write(reply) {
                let lines = [("Run", reply.run), ("Archived", Readable.moment(reply.archivedAt))]
                return [.details(lines, isDryRun: record.dryRun)]
            }
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "delete",
            abstract: "Delete a run that has ended.",
            discussion: """
                Its plans, reports, loads and events go with it, for good. Its name may be used again; revisions and \
                incarnations go on where they were.
                """)

        @Argument(help: "Name of the run.")
        var run: String
        @OptionGroup var record: RecordOptions
        @OptionGroup var coordinator: CoordinatorOptions
        @OptionGroup var output: ListingOptions

        func run() async throws {
            let request = DeleteRun(
                run: run, dryRun: record.dryRun, who: record.who, why: record.why(otherwise: "deleted by an operator"))
            let reply = try await coordinator.ask { client in
                try await client.listingRunsIfUnknown { try await client.delete(request) }
            }
            try output.write(reply) {
                let lines = [
                    (record.dryRun ? "Run" : "Deleted", reply.run), ("Incarnations", "\(reply.incarnations)"),
                    ("Plans", "\(reply.plans)"), ("Reports", "\(reply.reports)"), ("Loads", "\(reply.loads)"),
                    ("Events", "\(reply.events)"),
                ]
                return [.details(lines, isDryRun: record.dryRun)]
            }
        }
    }
}

extension ControlClient {
    /// Sends `request`. Gigabytes of loads take as long as the disk takes to read them; but a machine that is gone never answers. When
    /// no answer comes, the coordinator may delete on all the same.
    fileprivate func delete(_ request: DeleteRun) async throws -> RunDeleted {
        do throws(ControlError) {
            return try await send(request, timeout: .seconds(3_600))
        } catch {
            guard error.isUnreachable, !request.dryRun else { throw error }
            throw CommandFailure(
                code: CommandFailure.coordinatorUnreachable,
                "\(error.message)\nThe coordinator may go on deleting run \(request.run), or have deleted a part of it: ask again."
            )
        }
    }
}
