import ArgumentParser
import ControlProtocol
import Listings

struct RunCommands: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Look at training runs, and put them away.",
        subcommands: [List.self, Show.self, Plot.self, Archive.self, Delete.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list", abstract: "List the runs, the one that was started last first.")

        @Flag(help: "List archived runs, too.")
        var all = false

        @OptionGroup var coordinator: CoordinatorOptions
        @OptionGroup var output: ListingOptions
        @OptionGroup var watch: WatchOptions

        func run() async throws {
            try await watch.show(output) { try await listing() }
        }

        private func listing() async throws -> Listing {
            let request = ListRuns(all: all ? true : nil)
            let reply = try await coordinator.ask { try await $0.send(request) }
            let text = try output.text(of: reply) {
                var table = Table(
                    [
                        ("RUN", .left), ("STATE", .left), ("RANKS", .right), ("LAYERS", .right), ("EXPERTS", .right),
                        ("ALLOCATOR", .left), ("PLAN", .right), ("STEP", .right), ("LOSS", .right), ("STARTED", .right),
                        ("REPORTED", .right),
                    ], whenEmpty: "no runs")
                for run in reply.runs {
                    table.add([
                        run.run, run.state.rawValue + (run.archivedAt == nil ? "" : ", archived"), "\(run.worldSize)",
                        "\(run.layers)", "\(run.experts)",
                        run.allocator, "\(run.planRevision)", Readable.number(run.step), Readable.loss(run.loss),
                        Readable.age(run.startedAt), Readable.age(run.reportedAt),
                    ])
                }
                return [table]
            }
            return Listing(
                text: text,
                notes: reply.truncated
                    ? ["there are more runs; the coordinator lists the last \(reply.runs.count)."] : []
            )
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "show", abstract: "Show one run: its model, configuration and events.")

        @Argument(help: "Name of the run (default: the one that was started last).")
        var run: String?
        @OptionGroup var coordinator: CoordinatorOptions
        @OptionGroup var output: ListingOptions

        func run() async throws {
            let reply = try await coordinator.ask { client in
                let name = try await client.chooseRun(run)
                return try await client.listingRunsIfUnknown { try await client.send(ShowRun(run: name)) }
            }
            try output.write(reply) { RunDetails.tables(reply) }
        }
    }
}
