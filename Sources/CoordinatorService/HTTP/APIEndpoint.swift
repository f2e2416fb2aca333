import ControlProtocol
import Foundation

/// A path of the API, which answers what the control protocol answers. `schemas/openapi.json` is made of these.
package struct APIEndpoint: Sendable {
    typealias Answer = @Sendable (APIArguments, CoordinatorStore, Limits) async throws -> Data

    /// `{run}` stands for a name.
    package let path: String
    package let summary: String
    package let parameters: [APIParameter]
    /// The type of the message that it answers with.
    package let reply: String
    /// Nil: it streams news.
    let answer: Answer?
    package var isLive: Bool { answer == nil }

    /// - Parameters:
    ///   - path: after `/api/v1`.
    ///   - request: what is asked of the coordinator.
    ///   - reply: the store's answer to that.
    private init<Request: ControlRequest>(
        _ path: String, _ summary: String, _ parameters: [APIParameter] = [],
        request: @escaping @Sendable (APIArguments) throws -> Request,
        reply: @escaping @Sendable (CoordinatorStore, Request, Limits) async throws -> Request.Reply
    ) {
        self.path = "/api/v1" + path
        self.summary = summary
        self.parameters = parameters
        self.reply = Request.Reply.type
        answer = { arguments, store, limits in
            let request = try request(arguments)
            try request.validate(within: limits)
            let body = try MessageCodec.payload(try await reply(store, request, limits), requestID: nil)
            guard body.count <= limits.frameBytes else {
                throw ControlError(
                    .limitExceeded, "the answer has \(body.count) bytes, over the limit of \(limits.frameBytes)")
            }
            return body
        }
    }

    /// - Parameter event: the type of what it tells.
    private init(live path: String, _ summary: String, event: String) {
        self.path = "/api/v1" + path
        self.summary = summary
        parameters = []
        reply = event
        answer = nil
    }

    package static let all = [
        APIEndpoint(live: "/live", "News of all runs, as they come.", event: RunsChange.type),
        APIEndpoint(live: "/runs/{run}/live", "News of a run, as they come.", event: RunChange.type),
        APIEndpoint(
            "/runs", "The runs, the one registered last first.",
            [APIParameter(name: "all", kind: .flag, description: "Archived ones, too.")]
        ) {
            try ListRuns(all: $0.flag("all"))
        } reply: {
            try await $0.runs($1, limits: $2)
        },
        APIEndpoint("/runs/{run}", "Everything about one run.") {
            ShowRun(run: $0.run)
        } reply: {
            try await $0.run($1, limits: $2)
        },
        APIEndpoint("/runs/{run}/workers", "The workers of the current incarnation.") {
            ListWorkers(run: $0.run)
        } reply: {
            try await $0.workers($1, limits: $2)
        },
        APIEndpoint("/runs/{run}/plans", "The plans, newest first, and what operators said of planning.", [.limit]) {
            try ListPlans(run: $0.run, limit: $0.integer("limit"))
        } reply: {
            try await $0.plans($1, limits: $2)
        },
        APIEndpoint(
            "/runs/{run}/placement", "A plan: which ranks have which experts.",
            [
                APIParameter(
                    name: "revision", kind: .integer(minimum: 1), description: "The plan's; absent: of the active one."),
                APIParameter(name: "layer", kind: .integer(minimum: 0), description: "One layer alone; absent: all."),
            ]
        ) {
            try ShowPlacement(run: $0.run, layer: $0.integer("layer"), revision: $0.integer("revision"))
        } reply: { store, request, _ in
            try await store.placement(request)
        },
        APIEndpoint("/runs/{run}/checkpoints", "The checkpoints that the run told of, the last first.", [.limit]) {
            try ListCheckpoints(run: $0.run, limit: $0.integer("limit"))
        } reply: {
            try await $0.checkpoints($1, limits: $2)
        },
        APIEndpoint("/runs/{run}/events", "What happened to the run and its plans, ascending.", [.after, .limit]) {
            try ListEvents(run: $0.run, after: $0.integer("after"), limit: $0.integer("limit"))
        } reply: {
            try await $0.events($1, limits: $2)
        },
        APIEndpoint("/runs/{run}/intervals", "What the ranks measured, interval by interval.", [.after, .limit]) {
            try ListIntervals(run: $0.run, after: $0.integer("after"), limit: $0.integer("limit"))
        } reply: {
            try await $0.intervals($1, limits: $2)
        },
        APIEndpoint("/runs/{run}/loads", "The loads of the experts, interval by interval.", [.after, .limit]) {
            try ListLoads(run: $0.run, after: $0.integer("after"), limit: $0.integer("limit"))
        } reply: {
            try await $0.loads($1, limits: $2)
        },
        APIEndpoint(
            "/runs/{run}/timings", "How long each rank took over the same steps, by phase.",
            [
                APIParameter(
                    name: "first_step", kind: .integer(minimum: 0),
                    description: "First of the steps; absent: the newest that all ranks have reported.")
            ]
        ) {
            try ShowTimings(run: $0.run, firstStep: $0.integer("first_step"))
        } reply: { store, request, _ in
            try await store.timings(request)
        },
    ]

    /// - Returns: what stands for `{run}`, as it came, or nothing when there is no such place; nil: the path is another one.
    func run(in path: String) -> String? {
        let own = self.path.split(separator: "/", omittingEmptySubsequences: false)
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        guard own.count == parts.count else { return nil }
        var run = ""
        for (own, part) in zip(own, parts) {
            if own == "{run}", !part.isEmpty { run = String(part) } else if own != part { return nil }
        }
        return run
    }
}
