import ArgumentParser
import ControlProtocol
import Foundation
import Listings

/// `moe-ctl watch`.
struct WatchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "watch",
        abstract: "Watch a run while it trains, on a page that fills the terminal.",
        discussion: """
            The page has the run's state, curves of loss, tokens a second and balance, what each rank's steps are made of (a letter \
            for each phase), which experts get the tokens, plans and events. It follows the size of the terminal; q ends it. \
            Where standard output is no terminal, a line is printed for each interval of steps and for each event, and when \
            nothing was reported for long, until the run ends. NO_COLOR does without colours.
            """)

    @Argument(help: "Name of the run (default: the one that was started last).")
    var run: String?
    @Option(help: ArgumentHelp("Seconds between two looks.", valueName: "seconds"))
    var interval = 1.0
    @OptionGroup var coordinator: CoordinatorOptions

    func validate() throws {
        guard (0.1...86_400).contains(interval) else {
            throw ValidationError("--interval must be between 0.1 and 86400 seconds, but is \(interval)")
        }
    }

    func run() async throws {
        let client = try await coordinator.connect()
        let name = try await client.chooseRun(run)
        let watched = try await client.listingRunsIfUnknown { try await WatchedRun(name, over: client) }
        let watcher = RunWatcher(watched, client: client, coordinator: coordinator)
        if let terminal = Terminal() {
            await terminal.show(every: .seconds(interval)) {
                let run = await watcher.current()
                return { WatchPage(run: run, now: .now()).lines($0) }
            }
        } else {
            var log = WatchLog()
            try await log.follow(watcher, every: .seconds(interval))
        }
    }
}

/// Asks for what is new of a run, over a new connection when the one before was lost.
actor RunWatcher {
    private var run: WatchedRun
    private var client: ControlClient?
    private let coordinator: CoordinatorOptions
    private var isFirst = true

    init(_ run: WatchedRun, client: ControlClient, coordinator: CoordinatorOptions) {
        self.run = run
        self.client = client
        self.coordinator = coordinator
    }

    /// The run as it is, or as it was and why that is all that is known.
    func current() async -> WatchedRun {
        do { return try await next() } catch { return lost(error) }
    }

    /// The same.
    /// - Throws: why it cannot be asked for, when asking again does not help.
    func next() async throws -> WatchedRun {
        // The first was asked for a moment ago.
        if isFirst {
            isFirst = false
            return run
        }
        do {
            let connected = if let client { client } else { try await coordinator.connect() }
            client = connected
            var next = run
            try await next.refresh(over: connected)
            run = next
        } catch let error as ControlError where error.isTransient {
            return lost(error)
        }
        return run
    }

    private func lost(_ error: any Error) -> WatchedRun {
        client?.close()
        client = nil
        run.trouble = (message: (error as? ControlError)?.message ?? "\(error)", since: run.trouble?.since ?? .now())
        return run
    }
}
