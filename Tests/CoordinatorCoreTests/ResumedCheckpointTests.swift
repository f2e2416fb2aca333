import ControlProtocol
import ControlTestSupport
import CoordinatorCore
import ExpertPlacement
import Testing

/// Starts that go on from a checkpoint, with a coordinator that knows of the run, of an older state of it, or of nothing.
struct ResumedCheckpointTests {
    private let noon = Timestamp(milliseconds: 43_200_000)

    private func register(
        _ core: inout CoordinatorCore, _ registration: String, worldSize: Int = 2, checkpoint: ResumedCheckpoint? = nil
    ) throws -> (registered: RunRegistered, changes: [Change]) {
        var request = Samples.registerRun(registration: registration, worldSize: worldSize)
        request.checkpoint = checkpoint
        let actions = core.handle(.requested(.registerRun(request), Ticket(1)), at: noon)
        guard case .answer(_, .runRegistered(let registered)) = actions.last else {
            throw ControlError(.badRequest, "\(String(describing: actions.last))")
        }
        return (registered, actions.changes)
    }

    private func plan(worldSize: Int = 2, revision: Int = 9) throws -> PlacementPlan {
        var allocator = try Allocators.make(named: "replicated")
        var plan = try #require(
            try allocator.allocateExperts(
                current: nil, model: Samples.model, cluster: Cluster(worldSize: worldSize), step: 0))
        plan.revision = revision
        return plan
    }

    @Test func aRunThatIsNotKnownBeginsWithThePlanOfTheCheckpoint() throws {
        var core = CoordinatorCore()
        let earlier = try plan()
        let checkpoint = ResumedCheckpoint(incarnation: 4, revision: 12, step: 300, plan: earlier)
        let (registered, changes) = try register(&core, "a", checkpoint: checkpoint)
        #expect(registered.incarnation == 5 && registered.plan.revision == 13)
        #expect(registered.plan.layers.map(\.experts) == earlier.layers.map(\.experts))
        let whys = changes.compactMap { if case .addPlan(let record) = $0 { record.why } else { nil } }
        #expect(whys == ["first registration, as in the checkpoint after step 300"])
        // The same again, and then one without a checkpoint.
        #expect(try register(&core, "a", checkpoint: checkpoint).registered == registered)
        #expect(try register(&core, "b").registered.incarnation == 6)
    }

    /// Another world, or no plan: the allocator's first, above the numbers all the same.
    @Test func aPlanThatDoesNotFitIsLeft() throws {
        for checkpoint in [
            ResumedCheckpoint(incarnation: 4, revision: 12, step: 300, plan: try plan(worldSize: 3)),
            ResumedCheckpoint(incarnation: 4, revision: 12, step: 300),
        ] {
            var core = CoordinatorCore()
            let (registered, _) = try register(&core, "a", checkpoint: checkpoint)
            #expect(registered.incarnation == 5 && registered.plan.revision == 13)
            #expect(registered.plan.layers[0].experts.map(\.mesh.ranks) == [[0], [1], [0]])
        }
    }

    /// The active plan of a run that is known stays; what comes after it is above the checkpoint's numbers, durably.
    @Test func aRunThatIsKnownKeepsItsPlan() throws {
        var core = CoordinatorCore()
        let first = try register(&core, "a").registered
        let checkpoint = ResumedCheckpoint(incarnation: 7, revision: 20, step: 300, plan: try plan())
        let (second, changes) = try register(&core, "b", checkpoint: checkpoint)
        #expect(second.incarnation == 8 && second.plan == first.plan)
        #expect(changes.contains(.raiseRevision(run: "shakespeare", to: 20)))
        #expect(try register(&core, "c", worldSize: 3).registered.plan.revision == 21)
        // An older checkpoint takes nothing back.
        let old = ResumedCheckpoint(incarnation: 1, revision: 1, step: 100)
        let (fourth, later) = try register(&core, "d", worldSize: 3, checkpoint: old)
        #expect(fourth.incarnation == 10 && fourth.plan.revision == 21)
        #expect(!later.contains { if case .raiseRevision = $0 { true } else { false } })
    }

    @Test(arguments: [(-1, 0), (0, -1), (1 << 53, 0), (0, 1 << 53)]) func numbersHaveBounds(_ numbers: (Int, Int)) {
        var request = Samples.registerRun()
        request.checkpoint = ResumedCheckpoint(incarnation: numbers.0, revision: numbers.1, step: 1)
        #expect(throws: ControlError.self) { try request.validate(within: .standard) }
    }
}
