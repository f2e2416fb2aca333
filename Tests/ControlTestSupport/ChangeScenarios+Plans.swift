import ControlProtocol
import ExpertPlacement
import Testing

/// The life of plans.
extension ChangeScenarios {
    static let plans: [(name: String, body: Body)] = [
        ("a plan becomes active layer by layer", { try await $0.aPlanBecomesActive() }),
        ("repeated and early progress changes nothing", { try await $0.progressInAnyOrder() }),
        ("a plan that the ranks refuse leaves the active one", { try await $0.aRefusedPlan() }),
        ("one plan is in flight at a time", { try await $0.onePlanInFlight() }),
        ("a start withdraws what is proposed and abandons what is applied", { try await $0.plansEndWithAStart() }),
        ("freezing withdraws what is proposed", { try await $0.freezing() }),
        ("a plan that was withdrawn too late is revived", { try await $0.withdrawnTooLate() }),
        ("a rollback is a new revision", { try await $0.rollback() }),
        ("a dry run changes nothing", { try await $0.dryRun() }),
        ("plans that do not fit are refused", { try await $0.plansThatDoNotFit() }),
        ("a lower memory limit brings another plan", { try await $0.lessMemory() }),
    ]

    private func aPlanBecomesActive() async throws {
        let run = "life"
        let first = try await peer.send(Samples.registerRun(run)).plan
        #expect(try await offered(run) == nil)
        let proposed = try await propose(run)
        #expect(proposed.revision == 2)
        let offer = try await offered(run)
        #expect(offer?.revision == 2)
        #expect(try await offered(run) == offer)
        // Not to ranks that have another plan than the active one.
        #expect(try await offered(run, revision: 2) == nil)
        _ = try await peer.send(progress(run, .accepted, step: 30))
        #expect(try await offered(run) == nil)
        let switches = [LayerSwitch(layer: 1, step: 30), LayerSwitch(layer: 0, step: 31)]
        _ = try await peer.send(progress(run, .applying, step: 30, switched: [switches[0]]))
        let between = try await peer.send(Samples.registerRun(run)).plan
        #expect(between == first)
        _ = try await peer.send(progress(run, .applied, step: 31, switched: switches))
        let active = try await peer.send(Samples.registerRun(run)).plan
        #expect(active.revision == 2)
        #expect(active.layers.map(\.experts) == offer?.layers.map(\.experts))
        #expect(active.layers.map(\.switchStep) == [31, 30])
    }

    private func progressInAnyOrder() async throws {
        let run = "order"
        _ = try await peer.send(Samples.registerRun(run))
        let switches = [LayerSwitch(layer: 0, step: 30), LayerSwitch(layer: 1, step: 31)]
        await refuses(progress(run, .accepted), .invalidTransition)
        _ = try await propose(run)
        await refuses(progress(run, .applying, switched: [switches[0]]), .invalidTransition)
        await refuses(progress(run, .applied, switched: switches), .invalidTransition)
        await refuses(progress(run, revision: 1, .accepted), .invalidTransition)
        await refuses(progress(run, incarnation: 2, .accepted), .unknownIncarnation)
        let messages = [
            progress(run, .accepted, step: 30), progress(run, .applying, switched: [switches[0]]),
            progress(run, .applied, step: 31, switched: switches),
        ]
        for index in messages.indices {
            for earlier in messages[...index] { _ = try await peer.send(earlier) }
            await refuses(progress(run, .rejected, reason: "late"), .invalidTransition)
            if index < 2 { await refuses(progress(run, .accepted, step: 29), .invalidTransition) }
            if index == 1 {
                await refuses(progress(run, .applied, step: 31, switched: [switches[1]]), .invalidTransition)
                await refuses(
                    progress(run, .applied, switched: [LayerSwitch(layer: 2, step: 30)]), .badRequest)
            }
        }
        _ = try await propose(run, shift: 2)
        for message in messages { _ = try await peer.send(message) }
        #expect(try await offered(run, revision: 2)?.revision == 3)
    }

    private func aRefusedPlan() async throws {
        let run = "refused"
        let first = try await peer.send(Samples.registerRun(run)).plan
        _ = try await propose(run)
        let refusal = progress(run, .rejected, reason: "rank 1: no memory")
        for _ in 0..<2 { _ = try await peer.send(refusal) }
        await refuses(progress(run, .accepted), .invalidTransition)
        #expect(try await offered(run) == nil)
        #expect(try await peer.send(Samples.registerRun(run)).plan == first)
        #expect(try await propose(run).revision == 3)
    }

    private func onePlanInFlight() async throws {
        let run = "one"
        _ = try await peer.send(Samples.registerRun(run))
        for state in 0..<3 {
            if state == 0 { _ = try await propose(run) }
            if state == 1 { _ = try await peer.send(progress(run, .accepted)) }
            if state == 2 {
                _ = try await peer.send(
                    progress(run, .applying, switched: [LayerSwitch(layer: 0, step: 30)]))
            }
            await refuses(try proposal(run, shift: 2), .conflict)
        }
        _ = try await peer.send(Samples.finishRun(run))
        await refuses(try proposal(run, shift: 2), .conflict)
    }

    private func plansEndWithAStart() async throws {
        let run = "starts"
        let first = try await peer.send(Samples.registerRun(run)).plan
        _ = try await propose(run)
        #expect(try await peer.send(Samples.registerRun(run, registration: "b")).plan == first)
        await refuses(progress(run, .accepted), .staleIncarnation)
        await refuses(progress(run, incarnation: 2, .accepted), .invalidTransition)
        #expect(try await propose(run).revision == 3)
        _ = try await peer.send(progress(run, incarnation: 2, revision: 3, .accepted))
        #expect(try await peer.send(Samples.registerRun(run, registration: "c")).plan == first)
        await refuses(
            progress(run, incarnation: 3, revision: 3, .applied), .invalidTransition)
        #expect(try await propose(run).revision == 4)
    }

    private func freezing() async throws {
        let run = "frozen"
        _ = try await peer.send(Samples.registerRun(run))
        _ = try await propose(run)
        var request = ControlPlanning(
            run: run, freeze: true, pin: Samples.experts, dryRun: true, who: "ada", why: "test")
        let state = try await peer.send(request)
        #expect(state == PlanningState(run: run, frozen: true, pinned: Samples.experts, withdrawnRevision: 2))
        #expect(try await offered(run)?.revision == 2)
        request.dryRun = false
        #expect(try await peer.send(request) == state)
        #expect(try await offered(run) == nil)
        // Operators' own plans are allowed, and stay when experts are pinned.
        #expect(try await propose(run).revision == 3)
        let pin = ControlPlanning(run: run, pin: [ExpertID(layer: 0, expert: 0)], who: "ada", why: "test")
        #expect(try await peer.send(pin).withdrawnRevision == nil)
        let release = ControlPlanning(run: run, freeze: false, unpin: Samples.experts, who: "ada", why: "test")
        #expect(try await peer.send(release) == PlanningState(run: run, frozen: false, pinned: pin.pin))
        await refuses(
            ControlPlanning(run: run, pin: [ExpertID(layer: 2, expert: 0)], who: "ada", why: "test"), .badRequest)
        await refuses(
            ControlPlanning(run: run, unpin: [ExpertID(layer: 0, expert: 3)], who: "ada", why: "test"), .badRequest)
        await refuses(ControlPlanning(run: "nobody", freeze: true, who: "ada", why: "test"), .unknownRun)
    }

    private func withdrawnTooLate() async throws {
        let run = "late"
        _ = try await peer.send(Samples.registerRun(run))
        _ = try await propose(run)
        let freeze = ControlPlanning(run: run, freeze: true, who: "ada", why: "test")
        #expect(try await peer.send(freeze).withdrawnRevision == 2)
        #expect(try await propose(run, shift: 2).revision == 3)
        await refuses(progress(run, .applied), .invalidTransition)
        for _ in 0..<2 { _ = try await peer.send(progress(run, .accepted)) }
        await refuses(try proposal(run), .conflict)
        _ = try await peer.send(progress(run, .applied))
        #expect(try await offered(run, revision: 2) == nil)
        #expect(try await peer.send(Samples.registerRun(run)).plan.revision == 2)
        // Revision 3 was withdrawn for that, and a newer plan is active once 4 is: neither comes back then.
        #expect(try await propose(run).revision == nil)
        #expect(try await propose(run, shift: 2).revision == 4)
        _ = try await peer.send(progress(run, revision: 4, .accepted))
        await refuses(progress(run, revision: 3, .accepted), .invalidTransition)
        _ = try await peer.send(progress(run, revision: 4, .applied))
        await refuses(progress(run, revision: 3, .accepted), .invalidTransition)
    }

    private func rollback() async throws {
        let run = "rollback"
        let first = try await peer.send(Samples.registerRun(run)).plan
        _ = try await propose(run)
        _ = try await peer.send(progress(run, .accepted))
        _ = try await peer.send(progress(run, .applied))
        let request = ProposePlacement(run: run, rollbackTo: 1, who: "ada", why: "slower")
        let reply = try await peer.send(request)
        #expect(reply.revision == 3)
        #expect(reply.plan?.layers == first.layers)
        await refuses(ProposePlacement(run: run, rollbackTo: 9, who: "ada", why: "slower"), .unknownRevision)
    }

    private func dryRun() async throws {
        let run = "dry"
        _ = try await peer.send(Samples.registerRun(run))
        var request = try proposal(run)
        request.dryRun = true
        for _ in 0..<2 {
            let reply = try await peer.send(request)
            #expect(reply.revision == nil)
            #expect(reply.plan?.layers == request.plan?.layers)
            #expect(reply.prediction != nil)
        }
        #expect(try await offered(run) == nil)
        #expect(try await propose(run).revision == 2)
    }

    private func plansThatDoNotFit() async throws {
        let run = "fit"
        var registration = Samples.registerRun(run)
        // Expert-parallel has two of three experts of both layers on rank 0: 4 × 16 neurons of 3 × 8 weights, four times.
        registration.memoryLimits = [4 * 16 * 24 * 16, 4 * 16 * 24 * 16]
        _ = try await peer.send(registration)
        await refuses(
            ProposePlacement(run: run, plan: try Samples.plan, who: "ada", why: "test"), .unsuitablePlan)
        await refuses(try proposal(run, worldSize: 3), .unsuitablePlan)
        // All on rank 0.
        let model = Samples.model
        let crowded = try PlacementPlan(
            worldSize: 2,
            layers: model.layers.map {
                LayerPlacement(
                    experts: try $0.map {
                        try ExpertPlacement(
                            width: $0, mesh: DeviceMesh(dataParallel: 1, tensorParallel: 1, ranks: [0]))
                    })
            })
        await refuses(ProposePlacement(run: run, plan: crowded, who: "ada", why: "test"), .unsuitablePlan)
        registration.run = "fit-not"
        registration.memoryLimits = [10, 10]
        await refuses(registration, .unsuitablePlan)
    }

    private func lessMemory() async throws {
        let run = "memory"
        let first = try await peer.send(Samples.registerRun(run, allocator: "tensor-parallel")).plan
        var again = Samples.registerRun(run, registration: "b", allocator: "tensor-parallel")
        again.memoryLimits = [1 << 20, 1 << 20]
        #expect(try await peer.send(again).plan == first)
        again.registration = "c"
        again.memoryLimits = [10, 10]
        await refuses(again, .unsuitablePlan)
    }

    private func offered(_ run: String, revision: Int = 1) async throws -> PlacementPlan? {
        try await peer.send(PollPlan(run: run, incarnation: 1, revision: revision)).plan
    }

    private func proposal(_ run: String, shift: Int = 1, worldSize: Int = 2) throws -> ProposePlacement {
        ProposePlacement(
            run: run,
            plan: shift == 2
                ? try Samples.replicatedPlan(worldSize: worldSize)
                : try Samples.shiftedPlan(by: shift, worldSize: worldSize), who: "ada", why: "a test")
    }

    private func propose(_ run: String, shift: Int = 1) async throws -> PlacementProposed {
        try await peer.send(proposal(run, shift: shift))
    }

    private func progress(
        _ run: String, incarnation: Int = 1, revision: Int = 2, _ transition: PlanProgress.Transition, step: Int = 30,
        switched: [LayerSwitch] = [], reason: String? = nil
    ) -> PlanProgress {
        Samples.progress(
            transition, run: run, incarnation: incarnation, revision: revision, step: step, switched: switched,
            reason: reason)
    }
}
