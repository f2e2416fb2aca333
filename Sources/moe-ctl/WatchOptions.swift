import ArgumentParser
import ControlProtocol
import Files
import Foundation
import Listings

/// What a command prints: its output, in whole lines, and notes about it.
struct Listing: Sendable {
    var text: String
    var notes = [String]()
}

/// A listing that may be shown again and again.
struct WatchOptions: ParsableArguments {
    @Flag(name: [.customShort("w"), .long], help: "Show it anew every --interval seconds, until interrupted.")
    var watch = false

    @Option(help: ArgumentHelp("Seconds between two looks.", valueName: "seconds"))
    var interval = 2.0

    func validate() throws {
        guard (0.1...86_400).contains(interval) else {
            throw ValidationError("--interval must be between 0.1 and 86400 seconds, but is \(interval)")
        }
    }

    /// Prints what `look` finds; with `--watch` again and again, on a terminal in place of what it found before. A coordinator that
    /// goes away meanwhile is asked again.
    func show(_ output: ListingOptions, _ look: @escaping @Sendable () async throws -> Listing) async throws {
        let first = try await look()
        guard watch else { return try Self.write(first) }
        let interval = Duration.seconds(interval)
        if let terminal = Terminal() {
            let pages = WatchedListing(first, everySeconds: self.interval)
            await terminal.show(every: interval) { await pages.next(look) }
        } else {
            try await repeatPlainly(first, every: interval, separator: Self.separators[output.format] ?? "", look)
        }
    }

    /// Between two documents of a stream.
    private static let separators = [OutputFormat.table: "\n", .json: "", .yaml: "---\n"]

    private func repeatPlainly(
        _ first: Listing, every interval: Duration, separator: String, _ look: () async throws -> Listing
    ) async throws {
        try Self.write(first)
        var trouble: String?
        while true {
            try await Task.sleep(for: interval)
            do {
                let listing = try await look()
                trouble = nil
                try StandardOutput.write(separator)
                try Self.write(listing)
            } catch let error as ControlError where error.isTransient {
                if trouble == nil { StandardError.write("Note: \(error.message); trying again.") }
                trouble = error.message
            }
        }
    }

    private static func write(_ listing: Listing) throws {
        try StandardOutput.write(listing.text)
        for note in listing.notes { StandardError.write("Note: \(note)") }
    }
}

/// A listing on a terminal's page, the last one while there is no newer one.
private actor WatchedListing {
    private var listing: Listing
    private let everySeconds: Double
    private var isFirst = true

    init(_ first: Listing, everySeconds: Double) {
        listing = first
        self.everySeconds = everySeconds
    }

    func next(_ look: @Sendable () async throws -> Listing) async -> Terminal.Page {
        var trouble: String?
        if !isFirst {
            do {
                listing = try await look()
            } catch {
                trouble = (error as? ControlError)?.message ?? CommandFailure(error)?.message ?? "\(error)"
            }
        }
        isFirst = false
        var heading = [
            StyledLine(
                "every \(String(format: "%g", everySeconds)) s; the last at \(Readable.moment(.now())); q ends it",
                .faint)
        ]
        if let trouble { heading = [StyledLine(" trying again: \(trouble) ", .inverse)] }
        heading += listing.notes.map { StyledLine("Note: \($0)") }
        let lines =
            heading + [StyledLine()]
            + listing.text.split(separator: "\n", omittingEmptySubsequences: false)
            .dropLast().map { StyledLine(String($0)) }
        return { _ in lines }
    }
}
