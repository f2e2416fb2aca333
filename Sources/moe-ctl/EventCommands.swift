import ArgumentParser
import ControlProtocol
import Listings

struct EventCommands: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "event", abstract: "Look at what happened to runs and their plans.", subcommands: [List.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list", abstract: "List what happened to a run, the last at the end.",
            discussion: """
                Events tell when a run was registered and how it ended, what became of its plans, its checkpoints, and what \
                operators said: who it was, and why.
                """)

        @Option(help: "Name of the run (default: the one that was started last).")
        var run: String?
        @Option(help: ArgumentHelp("At most so many events, the last ones.", valueName: "n"))
        var limit: Int?
        @OptionGroup var coordinator: CoordinatorOptions
        @OptionGroup var output: ListingOptions
        @OptionGroup var watch: WatchOptions

        func validate() throws {
            if let limit, limit < 1 { throw ValidationError("--limit must be 1 at least, but is \(limit)") }
        }

        func run() async throws {
            let name = try await coordinator.ask { try await $0.chooseRun(run) }
            try await watch.show(output) { try await listing(of: name) }
        }

        private func listing(of run: String) async throws -> Listing {
            let reply = try await coordinator.ask { client in
                try await client.listingRunsIfUnknown { try await client.send(ListEvents(run: run, limit: limit)) }
            }
            let text = try output.text(of: reply) { [RunDetails.events(reply.events.map(\.event))] }
            return Listing(text: text)
        }
    }
}
