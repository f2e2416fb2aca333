import ControlProtocol
import ControlTestSupport
import CoordinatorService
import ExpertPlacement
import GRDB
import Testing

struct PlanQueryTests {
    @Test func plansAreListedWithWhatBecameOfThem() async throws {
        try await LiveCoordinator.run { coordinator in
            let client = try await coordinator.client()
            _ = try await client.send(Samples.registerRun())
            let proposal = ProposePlacement(plan: try Samples.shiftedPlan(by: 1), who: "ada", why: "a test")
            let first = try await client.send(proposal)
            #expect(first.revision == 2)
            #expect((first.prediction?.bytes ?? 0) > 0)
            _ = try await client.send(Samples.progress(.rejected, reason: "rank 1: no memory"))
            _ = try await client.send(proposal)
            _ = try await client.send(Samples.progress(.accepted, revision: 3, step: 30))
            let switches = [LayerSwitch(layer: 1, step: 30), LayerSwitch(layer: 0, step: 31)]
            _ = try await client.send(Samples.progress(.applying, revision: 3, switched: [switches[0]]))
            let between = try await client.send(ListPlans())
            #expect(between.plans.map(\.state) == [.applying, .rejected, .active])
            #expect(between.plans.map(\.switchedLayers) == [1, 0, 2])
            #expect(try await client.send(ShowPlacement(revision: 3)).plan.layers.map(\.switchStep) == [nil, 30])
            #expect(try await client.send(ShowPlacement()).plan.revision == 1)
            _ = try await client.send(Samples.progress(.applied, revision: 3, step: 31, switched: switches))

            let plans = try await client.send(ListPlans(run: "shakespeare"))
            #expect(plans.plans.map(\.state) == [.active, .rejected, .superseded])
            #expect(plans.plans.map(\.acceptedStep) == [30, nil, nil])
            #expect(plans.plans.map(\.reason) == [nil, "rank 1: no memory", "revision 3 became active"])
            #expect(plans.plans.map { $0.activatedAt == nil } == [false, true, false])
            #expect(plans.plans.map { $0.endedAt == nil } == [true, false, false])
            #expect(plans.plans[0].bytes == 2048 && plans.plans[0].seconds == 0.5)
            #expect(plans.plans[0].verifySeconds == 0.25 && plans.plans[0].prediction == first.prediction)
            let cut = try await client.send(ListPlans(limit: 2))
            #expect(cut.plans == Array(plans.plans.prefix(2)) && cut.truncated)

            _ = try await client.send(
                ControlPlanning(freeze: true, pin: [ExpertID(layer: 1, expert: 2)], who: "ada", why: "quiet"))
            let frozen = try await client.send(ListPlans())
            #expect(frozen.frozen && frozen.pinned == [ExpertID(layer: 1, expert: 2)])
            let error = await #expect(throws: ControlError.self) {
                try await client.send(ProposePlacement(replan: true, who: "ada", why: "now"))
            }
            #expect(error?.code == .planningFrozen)
            let events = try await client.send(ShowRun()).events.map(\.kind)
            #expect(
                events.reversed() == [
                    .runRegistered, .planActivated, .planProposed, .planRejected, .planProposed, .planAccepted,
                    .planApplying, .planSuperseded, .planActivated, .planningFrozen, .expertPinned,
                ])
        }
    }

    @Test func whatIsNotThereIsNamed() async throws {
        try await LiveCoordinator.run { coordinator in
            let client = try await coordinator.client()
            func code(_ request: some ControlRequest) async -> ControlError.Code? {
                do { _ = try await client.send(request) } catch { return error.code }
                return nil
            }
            #expect(await code(ListPlans()) == .unknownRun)
            #expect(await code(ControlPlanning(freeze: true, who: "ada", why: "test")) == .unknownRun)
            #expect(await code(ProposePlacement(replan: true, who: "ada", why: "test")) == .unknownRun)
            _ = try await client.send(Samples.registerRun())
            #expect(await code(ListPlans(run: "nobody")) == .unknownRun)
            #expect(await code(PollPlan(run: "nobody", incarnation: 1, revision: 1)) == .unknownRun)
            let both = ProposePlacement(plan: try Samples.plan, replan: true, who: "ada", why: "test")
            #expect(await code(both) == .badRequest)
            // Nothing was measured, and expert-parallel stays where it is.
            let replan = try await client.send(ProposePlacement(replan: true, who: "ada", why: "test"))
            #expect(replan.plan == nil && replan.revision == nil)
        }
    }

    /// From the reports to the plan on the ranks. What the state machine knows of the run is not read again.
    @Test(arguments: [false, true]) func measuredLoadsBringAPlan(databaseIsCut: Bool) async throws {
        try await LiveCoordinator.run { coordinator in
            let client = try await coordinator.client()
            var registration = Samples.registerRun(model: model, allocator: "load-balanced", plan: try firstPlan)
            registration.exchange = ExchangeCosts(latencySeconds: 1e-6, bytesPerSecond: 1e12)
            registration.interval = 10
            _ = try await client.send(registration)
            for rank in 0..<2 { _ = try await client.send(Samples.registerWorker(rank: rank)) }
            if databaseIsCut {
                // No run can be read any more; reports and plans are written as ever.
                try await coordinator.store.queue.write { db in
                    try db.execute(sql: "ALTER TABLE incarnations RENAME COLUMN registration TO cut")
                }
            }
            var offer: PlacementPlan?
            var sequence = 0
            while offer == nil, sequence < 500 {
                sequence += 1
                for rank in [1, 0] {
                    _ = try await client.send(report(rank: rank, sequence: sequence))
                }
                offer = try await client.send(PollPlan(run: "shakespeare", incarnation: 1, revision: 1)).plan
            }
            let plan = try #require(offer)
            #expect(plan.revision >= 2)
            let summary = try await client.send(ListPlans()).plans[0]
            #expect(summary.who == "allocator load-balanced")
            let prediction = try #require(summary.prediction)
            #expect(prediction.balanceAfter > prediction.balanceBefore)
        }
    }

    /// Plans may be large, and whoever reads them holds up all commits.
    @Test func listingPlansReadsNone() async throws {
        try await LiveCoordinator.run { coordinator in
            let client = try await coordinator.client()
            _ = try await client.send(Samples.registerRun())
            _ = try await client.send(
                ProposePlacement(plan: try Samples.shiftedPlan(by: 1), who: "ada", why: "a test"))
            try await coordinator.store.queue.write { db in
                try db.execute(sql: "UPDATE placements SET plan_json = '?'")
            }
            let plans = try await client.send(ListPlans()).plans
            #expect(plans.map(\.layers) == [2, 2] && plans.map(\.switchedLayers) == [0, 2])
        }
    }

    private let model = ExpertModel(hiddenSize: 64, layers: [[64, 64, 64, 64]])

    /// All that is busy on rank 0.
    private var firstPlan: PlacementPlan {
        get throws {
            let experts = try [0, 0, 1, 1].map { rank in
                try ExpertPlacement(width: 64, mesh: DeviceMesh(dataParallel: 1, tensorParallel: 1, ranks: [rank]))
            }
            return try PlacementPlan(worldSize: 2, layers: [LayerPlacement(experts: experts)])
        }
    }

    private func report(rank: Int, sequence: Int) -> Report {
        var sample = Samples.sample(
            firstStep: 10 * (sequence - 1) + 1, loads: rank == 0 ? [[5000, 5000, 10, 10]] : nil)
        let rows = rank == 0 ? 10_000 : 20
        sample.expertRows = rows
        sample.expertWork = rows * 64
        sample.phaseSeconds = ["experts": 0.0001 * Double(rows), "dispatch": 0.0001, "combine": 0.0001]
        return Samples.report(rank: rank, sequence: sequence, sample: sample)
    }
}
