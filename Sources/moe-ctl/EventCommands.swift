import ArgumentParser
import ControlProtocol
import Files
import Listings
import UnixSignals

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
        @Flag(
            name: .shortAndLong,
            help: "Go on with new events as they come, looking every --interval seconds, until interrupted.")
        var follow = false
        @OptionGroup var coordinator: CoordinatorOptions
        @OptionGroup var output: ListingOptions
        @OptionGroup var watch: WatchOptions

        func validate() throws {
            if let limit, limit < 1 { throw ValidationError("--limit must be 1 at least, but is \(limit)") }
            if follow, watch.watch { throw ValidationError("give --follow or --watch, not both") }
        }

        func run() async throws {
            let name = try await coordinator.ask { try await $0.chooseRun(run) }
            if follow { return try await follow(name) }
            try await watch.show(output) {
                let reply = try await newest(of: name)
                return Listing(text: try output.text(of: reply) { [RunDetails.events(reply.events.map(\.event))] })
            }
        }

        private func newest(of run: String) async throws -> Events {
            try await coordinator.ask { client in
                try await client.listingRunsIfUnknown { try await client.send(ListEvents(run: run, limit: limit)) }
            }
        }

        /// An interrupt is how it is meant to end.
        private func follow(_ run: String) async throws {
            // Before anything is printed: whoever has read it may interrupt.
            let interrupts = await UnixSignalsSequence(trapping: .sigint)
            try await withThrowingTaskGroup { group in
                group.addTask { try await printEvents(of: run) }
                group.addTask { for await _ in interrupts { break } }
                try await group.next()
                group.cancelAll()
            }
        }

        /// Documents with what is new, or the rows of one table. A coordinator that goes away meanwhile is asked again.
        private func printEvents(of run: String) async throws {
            var reply = try await newest(of: run)
            var table = RunDetails.events(reply.events.map(\.event))
            var last = 0
            var isAway = false
            try StandardOutput.write(try output.text(of: reply) { [table] })
            while true {
                last = reply.events.last?.number ?? last
                if !reply.truncated { try await Task.sleep(for: .seconds(watch.interval)) }
                do {
                    let request = ListEvents(run: run, after: last)
                    reply = try await coordinator.ask { try await $0.send(request) }
                    if isAway { StandardError.write("Note: the coordinator is there again.") }
                    isAway = false
                } catch let error as ControlError where error.isTransient {
                    if !isAway { StandardError.write("Note: \(error.message); trying again.") }
                    isAway = true
                    reply.truncated = false
                    continue
                }
                guard !reply.events.isEmpty else { continue }
                table = RunDetails.events(reply.events.map(\.event), below: table)
                let separator = output.format == .yaml ? "---\n" : ""
                try StandardOutput.write(separator + (try output.text(of: reply) { [table] }))
            }
        }
    }
}
