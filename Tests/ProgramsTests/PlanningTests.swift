import ControlProtocol
import ExpertPlacement
import Foundation
import GRDB
import Testing

/// Placements that change while real ranks train, with a coordinator that comes and goes.
@Suite(.serialized) struct PlanningTests {
    @Test func aSkewedRouterMovesExperts() async throws {
        let job = try PlanningJob(allocator: "load-balanced")
        try await job.wait("plan of the planner that is active") {
            let plans = try await job.plans().plans
            return plans.contains { $0.state == .active && $0.revision > 1 && $0.observation != nil }
        }
        // The planner may have gone on; it rests when it is frozen and nothing is on its way.
        _ = try await job.send(ControlPlanning(run: PlanningJob.run, freeze: true, who: "test", why: "a test"))
        try await job.wait("rest") { try await job.plans().plans.allSatisfy { !$0.state.isInFlight } }
        try await job.expectOneActivePlan()
        let plans = try await job.plans().plans
        let planned = try #require(plans.last { $0.revision > 1 && $0.state != .withdrawn })
        #expect(planned.who == "allocator load-balanced")
        let prediction = try #require(planned.prediction)
        #expect(prediction.balanceAfter > prediction.balanceBefore && prediction.bytes == planned.bytes)
        #expect(planned.switchedLayers == 2 && planned.acceptedStep != nil)
        let run = try await job.send(ShowRun(run: PlanningJob.run))
        #expect(Set(run.events.map(\.kind)).isSuperset(of: [.planProposed, .planActivated, .planningFrozen]))
    }

    @Test func aProgramMovesExperts() async throws {
        let policy = """
            import json, sys
            request = json.load(sys.stdin)
            for layer in request["plan"]["layers"]:
                for expert in layer["experts"]:
                    expert["mesh"]["ranks"] = [1]
            json.dump({"layers": request["plan"]["layers"]}, sys.stdout)
            """
        let configuration = """
            allocators:
              mine: {command: [python3, -c, \(try Self.quoted(policy))], hysteresis: false}
              broken: {command: [python3, -c, "raise SystemExit('no idea')"]}
            """
        let job = try PlanningJob(allocator: "exec:mine", configuration: configuration)
        try await job.wait("plan of the program that is active") { try await job.activePlan().plan.revision > 1 }
        let active = try await job.activePlan()
        #expect(active.who == "allocator exec:mine")
        #expect(active.plan.layers.allSatisfy { $0.experts.allSatisfy { $0.mesh.ranks == [1] } })
        try await job.expectOneActivePlan(active.plan.revision)
    }

    @Test func aProgramThatFailsLeavesThePlan() async throws {
        let configuration = """
            allocators:
              broken: {command: [python3, -c, "raise SystemExit('no idea')"]}
            """
        let job = try PlanningJob(allocator: "exec:broken", configuration: configuration)
        try await job.wait("event of the failure") {
            try await job.send(ShowRun(run: PlanningJob.run)).events.contains { $0.kind == .planningFailed }
        }
        let events = try await job.send(ShowRun(run: PlanningJob.run)).events
        #expect(events.contains { $0.kind == .planningFailed && $0.why.contains("it wrote: no idea") }, "\(events)")
        try await job.expectOneActivePlan(1)
    }

    /// The coordinator is killed when its database has a plan in `state`.
    @Test(arguments: [PlanState.proposed, .accepted, .applying, .active])
    func aCoordinatorThatIsKilledComesBack(state: PlanState) async throws {
        let job = try PlanningJob(allocator: "expert-parallel", layers: 6, worker: ["--migration-budget": "1"])
        try await job.waitForSteps()
        let plan = try await job.swapped()
        // A rank that is stopped can accept nothing. Later states pass within milliseconds: the database keeps the plan there.
        let stopped = state == .proposed ? ProcessTable.children(of: job.ranks.processIdentifier) : []
        for rank in stopped { kill(rank, SIGSTOP) }
        if state == .accepted || state == .applying {
            job.killCoordinator()
            try await job.startCoordinator(
                after: """
                    CREATE TRIGGER hold BEFORE UPDATE OF state ON plans WHEN OLD.state = '\(state.rawValue)'
                    BEGIN SELECT RAISE(ABORT, 'the test holds the plan here'); END
                    """)
        }
        let revision = try #require(try await job.propose(plan).revision)
        try await job.wait("plan that is \(state.rawValue)") {
            try await job.plans().plans.contains { $0.revision == revision && $0.state == state }
        }
        job.killCoordinator()
        let stored = try await job.stored { db in
            try String.fetchOne(db, sql: "SELECT state FROM plans WHERE revision = ?", arguments: [revision])
        }
        #expect(stored == state.rawValue)
        for rank in stopped { kill(rank, SIGCONT) }
        // Training needs no coordinator.
        try await job.waitForSteps()
        try await job.startCoordinator(after: "DROP TRIGGER IF EXISTS hold")
        try await job.wait("revision \(revision) that is active") {
            try await job.activePlan().plan.revision == revision
        }
        try await job.expectOneActivePlan(revision)
        let active = try await job.activePlan().plan
        #expect(active.layers.map(\.experts) == plan.layers.map(\.experts))
        #expect(active.layers.allSatisfy { $0.switchStep != nil })
    }

    /// An operator's plan and the way back, with `moe-ctl` and real ranks.
    @Test func anOperatorMovesExperts() async throws {
        let job = try PlanningJob(allocator: "expert-parallel")
        try await job.waitForSteps()
        let before = try await job.activePlan().plan
        let plan = try await job.swapped()
        let file = job.inputs.path("plan.json")
        try JSONEncoder().encode(plan).write(to: URL(fileURLWithPath: file))

        func ask<Reply: Decodable>(_ type: Reply.Type, _ arguments: [String]) throws -> Reply {
            let call = try CtlProgram(
                ["placement"] + arguments + ["--run", PlanningJob.run, "--coordinator", job.address, "-o", "json"])
            try #require(call.status == 0, "\(call.errors)")
            return try JSONDecoder().decode(type, from: Data(call.output.utf8))
        }
        /// Calls `moe-ctl` and waits until its plan is active.
        func move(_ arguments: [String], to expected: PlacementPlan) async throws {
            let revision = try #require(
                try ask(PlacementProposed.self, arguments + ["--why", "a drill"]).revision)
            try await job.wait("revision \(revision) that is active") {
                try ask(Plans.self, ["history"]).plans.first?.state == .active
            }
            let plans = try ask(Plans.self, ["history"]).plans
            #expect(plans[0].revision == revision && plans[0].why.hasSuffix("a drill"), "\(plans)")
            #expect(plans[0].switchedLayers == 2 && plans[0].bytes ?? 0 > 0, "\(plans)")
            try await job.expectOneActivePlan(revision)
            let active = try ask(Placement.self, ["show"]).plan
            #expect(active.layers.map(\.experts) == expected.layers.map(\.experts))
        }
        try await move(["apply", file], to: plan)
        try await move(["rollback"], to: before)
        #expect(try ask(Plans.self, ["history"]).plans.map(\.state) == [.active, .superseded, .superseded])
    }

    @Test func theCoordinatorRefusesAPlanOverTheMemoryOfARank() async throws {
        let job = try Self.tightJob()
        try await job.waitForSteps()
        let error = await #expect(throws: ControlError.self) { try await job.propose(Self.allOnRankOne(job)) }
        #expect(error?.code == .unsuitablePlan)
        #expect(error?.message.contains("rank 1 would need") == true, "\(String(describing: error))")
        try await job.expectOneActivePlan(1)
    }

    /// A rank's own limit counts, whatever the coordinator thinks it is.
    @Test func aRankThatRefusesLeavesThePlan() async throws {
        let job = try Self.tightJob()
        try await job.waitForSteps()
        job.killCoordinator()
        try await job.startCoordinator(after: "UPDATE runs SET cluster_json = NULL")
        let revision = try #require(try await job.propose(Self.allOnRankOne(job)).revision)
        try await job.wait("rejected plan") {
            try await job.plans().plans.contains { $0.revision == revision && $0.state == .rejected }
        }
        let rejected = try #require(try await job.plans().plans.first { $0.revision == revision })
        #expect(rejected.reason?.contains("rank 1 would need") == true, "\(rejected)")
        try await job.expectOneActivePlan(1)
        // And the next plan finds its way.
        let next = try #require(try await job.propose(job.swapped()).revision)
        try await job.wait("next plan that is active") { try await job.activePlan().plan.revision == next }
        try await job.expectOneActivePlan(next)
    }

    /// A job whose ranks can hold half of the experts and what moves, but not all experts.
    private static func tightJob() throws -> PlanningJob {
        // A neuron has three vectors of 64 numbers; weights, gradients and two moments of each, 4 bytes a number.
        let expertBytes = 1024 * 3 * 64 * 4 * 4
        // Two layers of four experts; while one layer is exchanged, both its halves are there, and a chunk at either end.
        let (all, exchange) = (8 * expertBytes, 6 * expertBytes + (2 << 20))
        return try PlanningJob(
            allocator: "expert-parallel", width: 1024,
            worker: ["--memory-limit": "\((all + exchange) / 2)", "--batch-size": "2"])
    }

    private static func allOnRankOne(_ job: PlanningJob) async throws -> PlacementPlan {
        let plan = try await job.activePlan().plan
        let mesh = try DeviceMesh(dataParallel: 1, tensorParallel: 1, ranks: [1])
        return try PlacementPlan(
            worldSize: 2, nodes: plan.nodes,
            layers: plan.layers.map { layer in
                try LayerPlacement(experts: layer.experts.map { try ExpertPlacement(width: $0.width, mesh: mesh) })
            })
    }

    /// As JSON, which YAML understands.
    private static func quoted(_ text: String) throws -> String {
        String(decoding: try JSONEncoder().encode(text), as: UTF8.self)
    }
}
