import ArgumentParser
import ControlProtocol
import Listings

struct WorkerCommands: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "worker", abstract: "Look at the ranks of runs.", subcommands: [List.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list", abstract: "List the workers of a run, or of all runs, and what they reported last.")

        @Option(help: "Name of the run (default: all).")
        var run: String?
        @OptionGroup var coordinator: CoordinatorOptions
        @OptionGroup var output: ListingOptions
        @OptionGroup var watch: WatchOptions

        func run() async throws {
            try await watch.show(output) { try await listing() }
        }

        private func listing() async throws -> Listing {
            let reply = try await coordinator.ask { client in
                try await client.listingRunsIfUnknown { try await client.send(ListWorkers(run: run)) }
            }
            let text = try output.text(of: reply) {
                var table = Table(
                    [
                        ("RUN", .left), ("RANK", .right), ("HOST", .left), ("PID", .right), ("STEP", .right),
                        ("STEP TIME", .right), ("MEMORY", .right), ("REGISTERED", .right), ("REPORTED", .right),
                    ], whenEmpty: "no workers")
                for worker in reply.workers {
                    table.add([
                        worker.run, "\(worker.rank)", worker.host, "\(worker.processID)", Readable.number(worker.step),
                        Readable.seconds(worker.stepSeconds), Readable.bytes(worker.residentBytes),
                        Readable.age(worker.registeredAt), Readable.age(worker.reportedAt),
                    ])
                }
                return [table]
            }
            return Listing(
                text: text, notes: reply.truncated ? ["there are more workers; choose a run with --run."] : [])
        }
    }
}
