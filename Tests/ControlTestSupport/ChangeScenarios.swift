import ControlProtocol
import ExpertPlacement
import Testing

/// What every coordinator does with requests that change state, whatever carries them.
public struct ChangeScenarios: Sendable {
    let peer: any ChangePeer

    public init(_ peer: any ChangePeer) {
        self.peer = peer
    }

    public typealias Body = @Sendable (ChangeScenarios) async throws -> Void

    /// - Returns: the scenarios by name.
    public static let all: [(name: String, body: Body)] = starts + plans

    private static let starts: [(name: String, body: Body)] =
        [
            ("a run starts with revision 1", { try await $0.aRunStartsWithRevisionOne() }),
            ("a start sent again is the same incarnation", { try await $0.aStartSentAgainIsTheSameIncarnation() }),
            ("another start keeps the plan", { try await $0.anotherStartKeepsThePlan() }),
            ("another world, model or allocator brings another plan", { try await $0.whatBringsAnotherPlan() }),
            ("other nodes keep the meshes", { try await $0.otherNodesKeepTheMeshes() }),
            ("a worker's own plan is taken", { try await $0.aWorkersOwnPlanIsTaken() }),
            ("registrations that cannot be placed change nothing", { try await $0.whatCannotBePlaced() }),
            ("older incarnations are refused", { try await $0.olderIncarnationsAreRefused() }),
            ("reports need a registered worker", { try await $0.reportsNeedARegisteredWorker() }),
            ("a report is acknowledged however often it comes", { try await $0.aReportIsAcknowledgedAgain() }),
            ("reports in one frame are applied all or none", { try await $0.reportsOfOneFrameGoTogether() }),
            ("the first outcome counts", { try await $0.theFirstOutcomeCounts() }),
            ("runs are archived when they have ended", { try await $0.runsAreArchivedWhenTheyHaveEnded() }),
            ("revisions go above what the ranks have", { try await $0.revisionsGoAboveTheRanks() }),
        ]

    private func aRunStartsWithRevisionOne() async throws {
        let reply = try await peer.send(Samples.registerRun("first"))
        #expect(reply.incarnation == 1)
        #expect(reply.plan.revision == 1)
        try reply.plan.validate(for: Samples.model, worldSize: 2)
        #expect(reply.plan.layers[0].experts.map(\.mesh.ranks) == [[0], [1], [0]])
    }

    private func aStartSentAgainIsTheSameIncarnation() async throws {
        let first = try await peer.send(Samples.registerRun("again"))
        #expect(try await peer.send(Samples.registerRun("again")) == first)
        _ = try await peer.send(Samples.registerRun("again", registration: "b"))
        // A request that was on its way for long must not fence the newer start.
        await refuses(Samples.registerRun("again"), .staleIncarnation)
        #expect(try await peer.send(Samples.registerRun("again", registration: "b")).incarnation == 2)
    }

    private func anotherStartKeepsThePlan() async throws {
        let first = try await peer.send(Samples.registerRun("restart"))
        _ = try await peer.send(Samples.finishRun("restart"))
        let second = try await peer.send(Samples.registerRun("restart", registration: "b"))
        #expect(second.incarnation == 2)
        #expect(second.plan == first.plan)
    }

    private func whatBringsAnotherPlan() async throws {
        let run = "changing"
        _ = try await peer.send(Samples.registerRun(run))
        let wider = try await peer.send(Samples.registerRun(run, registration: "b", worldSize: 3))
        #expect(wider.plan.revision == 2)
        #expect(wider.plan.worldSize == 3)
        let model = ExpertModel(hiddenSize: 8, layers: [[16, 16]])
        let smaller = try await peer.send(Samples.registerRun(run, registration: "c", worldSize: 3, model: model))
        #expect(smaller.plan.revision == 3)
        #expect(smaller.plan.layers.count == 1)
        let replicated = try await peer.send(
            Samples.registerRun(run, registration: "d", worldSize: 3, model: model, allocator: "replicated"))
        #expect(replicated.plan.revision == 4)
        #expect(replicated.plan.layers[0].experts[0].mesh.dataParallel == 3)
        #expect(replicated.incarnation == 4)
    }

    private func otherNodesKeepTheMeshes() async throws {
        let first = try await peer.send(Samples.registerRun("moving"))
        let moved = try await peer.send(Samples.registerRun("moving", registration: "b", nodes: [0, 1]))
        #expect(moved.plan.revision == 2)
        #expect(moved.plan.nodes == [0, 1])
        #expect(moved.plan.layers == first.plan.layers)
    }

    private func aWorkersOwnPlanIsTaken() async throws {
        let plan = try Samples.plan
        let model = ExpertModel(hiddenSize: 8, layers: [[16, 8], [8]])
        let reply = try await peer.send(
            Samples.registerRun(
                "own", worldSize: 4, nodes: [0, 0, 1, 1], model: model, allocator: "my-own", plan: plan))
        #expect(reply.plan.revision == 1)
        #expect(reply.plan.layers == plan.layers)
        await refuses(Samples.registerRun("own-2", worldSize: 4, allocator: "my-own", plan: plan), .unsuitablePlan)
        await refuses(Samples.registerRun("own-3", model: model, allocator: "my-own", plan: plan), .unsuitablePlan)
    }

    private func whatCannotBePlaced() async throws {
        for name in ["magic", "exec:magic"] {
            await refuses(Samples.registerRun("bad", allocator: name), .unknownAllocator)
        }
        await refuses(Samples.registerRun("bad", allocator: "dp=2,tp=2"), .unsuitablePlan)
        let large = ExpertModel(hiddenSize: 8, layers: [[Int]](repeating: [Int](repeating: 16, count: 200), count: 100))
        await refuses(Samples.registerRun("bad", worldSize: 100, model: large, allocator: "replicated"), .limitExceeded)
        await refuses(Samples.registerWorker("bad"), .unknownRun)
        #expect(try await peer.send(Samples.registerRun("bad")).incarnation == 1)
    }

    private func olderIncarnationsAreRefused() async throws {
        _ = try await peer.send(Samples.registerRun("fenced"))
        _ = try await peer.send(Samples.registerWorker("fenced"))
        _ = try await peer.send(Samples.registerRun("fenced", registration: "b"))
        await refuses(Samples.registerWorker("fenced"), .staleIncarnation)
        await refuses(Samples.report("fenced"), .staleIncarnation)
        await refuses(Samples.finishRun("fenced"), .staleIncarnation)
        await refuses(Samples.report("fenced", incarnation: 3), .unknownIncarnation)
        await refuses(Samples.report("fenced", incarnation: 2), .unknownWorker)
    }

    private func reportsNeedARegisteredWorker() async throws {
        _ = try await peer.send(Samples.registerRun("workers"))
        await refuses(Samples.report("workers"), .unknownWorker)
        await refuses(Samples.registerWorker("workers", rank: 2), .badRequest)
        _ = try await peer.send(Samples.registerWorker("workers", rank: 1))
        let sample = Samples.sample()
        #expect(try await peer.send(Samples.report("workers", rank: 1, sample: sample)).sequence == 1)
        await refuses(Samples.report("workers", rank: 1, sequence: 2), .badRequest)
        _ = try await peer.send(Samples.registerWorker("workers"))
        await refuses(Samples.report("workers", sample: Samples.sample(loads: [[1, 2, 3]])), .badRequest)
        _ = try await peer.send(Samples.report("workers"))
    }

    private func aReportIsAcknowledgedAgain() async throws {
        _ = try await peer.send(Samples.registerRun("reports"))
        _ = try await peer.send(Samples.registerWorker("reports"))
        for sequence in [1, 2, 2, 1, 9, 7, 7, 9, 200] {
            #expect(try await peer.send(Samples.report("reports", sequence: sequence)).sequence == sequence)
        }
        await refuses(Samples.report("reports", sequence: 136), .staleSequence)
        #expect(try await peer.send(Samples.report("reports", sequence: 137)).sequence == 137)
        // Registering again, after a lost answer, forgets nothing.
        _ = try await peer.send(Samples.registerWorker("reports"))
        await refuses(Samples.report("reports", sequence: 136), .staleSequence)
    }

    private func reportsOfOneFrameGoTogether() async throws {
        _ = try await peer.send(Samples.registerRun("together"))
        await refuses(Samples.reports(1...3, of: "together"), .unknownWorker)
        _ = try await peer.send(Samples.registerWorker("together", rank: 1))
        #expect(try await peer.send(Samples.reports(1...3, of: "together")).sequence == 3)
        // Some are known already.
        #expect(try await peer.send(Samples.reports(2...5, of: "together")).sequence == 5)
        _ = try await peer.send(Samples.report("together", rank: 1, sequence: 100, sample: Samples.sample()))
        // One is too old, one tells what only rank 0 may: the others do not count either.
        var mixed = Samples.reports(100...102, of: "together")
        mixed.reports[0].sequence = 20
        await refuses(mixed, .staleSequence)
        mixed = Samples.reports(101...102, of: "together")
        mixed.reports[1].sample.expertLoads = [[1, 2, 3], [4, 5, 6]]
        await refuses(mixed, .badRequest)
        #expect(try await peer.send(Samples.reports(90...101, of: "together")).sequence == 101)
    }

    private func theFirstOutcomeCounts() async throws {
        _ = try await peer.send(Samples.registerRun("ending"))
        let failed = FinishRun(run: "ending", incarnation: 1, outcome: .failed, step: 3, reason: "a rank died")
        #expect(try await peer.send(failed) == Acknowledged())
        #expect(try await peer.send(Samples.finishRun("ending")) == Acknowledged())
    }

    private func runsAreArchivedWhenTheyHaveEnded() async throws {
        let request = ArchiveRun(run: "put-away", who: "ada", why: "old")
        await refuses(request, .unknownRun)
        _ = try await peer.send(Samples.registerRun("put-away"))
        await refuses(request, .conflict)
        _ = try await peer.send(Samples.finishRun("put-away"))
        let archived = try await peer.send(request)
        #expect(try await peer.send(request) == archived)
        _ = try await peer.send(Samples.registerRun("put-away", registration: "b"))
        await refuses(request, .conflict)
    }

    /// The database may be older than the ranks: it was restored.
    private func revisionsGoAboveTheRanks() async throws {
        _ = try await peer.send(Samples.registerRun("ahead"))
        _ = try await peer.send(Samples.registerWorker("ahead"))
        var sample = Samples.sample()
        sample.planRevision = 40
        _ = try await peer.send(Samples.report("ahead", sample: sample))
        let poll = PollPlan(run: "ahead", incarnation: 1, revision: 50)
        #expect(try await peer.send(poll).plan == nil)
        let proposal = ProposePlacement(
            run: "ahead", plan: try Samples.shiftedPlan(by: 1), who: "ada", why: "a test")
        #expect(try await peer.send(proposal).revision == 51)
        sample.planRevision = 51 + Limits.standard.restoredGap + 1
        await refuses(Samples.report("ahead", sequence: 2, sample: sample), .badRequest)
        await refuses(PollPlan(run: "ahead", incarnation: 1, revision: 1 << 53), .badRequest)
    }

    func refuses(
        _ request: some ControlRequest, _ code: ControlError.Code, sourceLocation: SourceLocation = #_sourceLocation
    ) async {
        let error = await #expect(throws: ControlError.self, sourceLocation: sourceLocation) {
            try await peer.send(request)
        }
        #expect(error?.code == code, sourceLocation: sourceLocation)
    }
}
