import ControlProtocol
import FlyingFox
import Foundation

/// News of a run, or of all, as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html): what there is
/// at once, and then what has changed.
struct LiveStream: Sendable {
    private struct Event: Sendable {
        let counts: RunChanges.Counts
        let bytes: Data
    }

    private let store: CoordinatorStore
    private let changes: RunChanges
    private let limits: Limits
    private let run: String?
    private let first: Event

    /// - Parameter run: nil: all of them.
    /// - Throws: `unknown_run`.
    init(of run: String?, store: CoordinatorStore, changes: RunChanges, limits: Limits) async throws {
        self.store = store
        self.changes = changes
        self.limits = limits
        self.run = run
        first = try await Self.event(of: run, store: store, changes: changes)
    }

    private static func event(of run: String?, store: CoordinatorStore, changes: RunChanges) async throws -> Event {
        // Before the question: what changes meanwhile is told again.
        let counts = changes.counts(of: run)
        let data: Data
        if let run {
            data = try await MessageCodec.payload(store.change(of: run, plans: counts.plans), requestID: nil)
        } else {
            data = try await MessageCodec.payload(store.change(of: counts.all), requestID: nil)
        }
        return Event(
            counts: counts, bytes: Data("event: change\nid: \(counts.all)\ndata: ".utf8) + data + Data("\n\n".utf8))
    }

    /// What goes before the events.
    static let head = HTTPResponse(statusCode: .ok, headers: headers)

    private static let headers: HTTPHeaders = [
        .contentType: "text/event-stream", HTTPHeader("X-Accel-Buffering"): "no",
    ]

    /// Until cancellation, or until the run is no more.
    func run(_ write: (Data) async throws -> Void) async throws {
        var last = first
        try await write(Self.head.head(Self.head.headers) + last.bytes)
        var silentSince = ContinuousClock.now
        while true {
            try await Task.sleep(for: limits.liveInterval)
            if changes.counts(of: run) != last.counts {
                last = try await Self.event(of: run, store: store, changes: changes)
                try await write(last.bytes)
            } else if .now - silentSince >= limits.liveSilence {
                // A comment: who went away without a word is found out.
                try await write(Data(":\n\n".utf8))
            } else {
                continue
            }
            silentSince = .now
        }
    }
}
