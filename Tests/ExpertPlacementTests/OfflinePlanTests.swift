import ExpertPlacement
import Testing

@Suite struct OfflinePlanTests {
    private let loads = [[9000.0, 5000, 400, 300, 500, 200, 300, 300], [300.0, 400, 200, 9000, 5000, 500, 300, 300]]

    @Test(arguments: ["load-balanced", "load-balanced:shapes=any,slots=3", "eplb"])
    func loadsAreBalanced(allocator: String) throws {
        let question = try OfflinePlan(
            loads: loads, ranks: 4, nodes: 2, allocator: allocator, width: 64, hiddenSize: 16)
        let answer = try question.propose()
        try answer.plan.validate(for: question.model, worldSize: 4)
        #expect(answer.plan.nodes == [0, 0, 1, 1])
        #expect(answer.prediction.balanceAfter > 0.9 && answer.prediction.balanceBefore < 0.6)
        #expect(answer.prediction.bytes > 0 && answer.plan.revision == 0)
        // In parts of a row, the plan is the same.
        var parts = question
        parts.loads = loads.map { $0.map { $0 / 16_384 } }
        #expect(try parts.propose().prediction.balanceAfter > 0.9)
    }

    @Test func rulesIgnoreTheLoads() throws {
        for name in ["tensor-parallel", "expert-parallel", "replicated", "dp=2,tp=2"] {
            let question = try OfflinePlan(loads: loads, ranks: 4, allocator: name, width: 64, hiddenSize: 16)
            let plan = try question.propose().plan
            let expected = try PlacementPlan.first(name, question.model, question.cluster)
            #expect(plan.layers == expected.layers, "\(name)")
        }
    }

    /// From a plan in force little moves, and nothing when nothing is to be gained.
    @Test func startsFromThePlanInForce() throws {
        var question = try OfflinePlan(loads: loads, ranks: 4, width: 64, hiddenSize: 16)
        question.current = try question.propose().plan
        let again = try question.propose()
        #expect(again.plan.layers.map(\.experts) == question.current?.layers.map(\.experts))
        #expect(again.prediction.bytes == 0)
        question.current = try PlacementPlan.first("replicated", question.model, Cluster(worldSize: 3))
        #expect(throws: PlacementError.self) { try question.propose() }
    }

    /// Experts do not take what rows need: with two of a layer on each rank there is room for both, with four for neither's rows.
    @Test(arguments: ["load-balanced", "eplb", "eplb:slots=4"]) func rowsHaveRoom(allocator: String) throws {
        let loads = [[300.0, 250, 200, 200, 200, 150, 150, 150], [150.0, 300, 150, 200, 250, 200, 150, 200]]
        let question = try OfflinePlan(
            loads: loads, ranks: 4, allocator: allocator, memoryLimit: 26_000_000, width: 1024, hiddenSize: 64)
        let plan = try question.propose().plan
        try PlanMemory.check(plan, model: question.model, cluster: question.cluster, loads: loads)
    }

    @Test func whatCannotBeIsRefused() throws {
        func ask(
            _ loads: [[Double]] = [[1, 2]], ranks: Int = 2, nodes: Int = 1, limit: Int? = nil, width: Int = 4,
            hidden: Int = 2, allocator: String = "load-balanced"
        ) throws -> PlanProposal {
            try OfflinePlan(
                loads: loads, ranks: ranks, nodes: nodes, allocator: allocator, memoryLimit: limit, width: width,
                hiddenSize: hidden
            ).propose()
        }
        #expect(throws: Never.self) { try ask() }
        // A whole expert of 4 neurons takes 4 · 4 · 24 bytes, and each rank has to hold one.
        #expect(throws: Never.self) { try ask([[0, 0]], limit: 384) }
        for (bad, reason) in [
            ({ try ask([]) }, "a layer at least"), ({ try ask([[1], []]) }, "an expert"),
            ({ try ask([[1, -1]]) }, "load -1.0"), ({ try ask([[.nan]]) }, "load nan"),
            ({ try ask([[1e300]]) }, "load 1e+300"), ({ try ask(ranks: 0) }, "0 ranks"),
            ({ try ask(nodes: 3) }, "3 nodes"), ({ try ask(width: 0) }, "width 0"), ({ try ask(hidden: 0) }, "size 0"),
            ({ try ask(limit: 383) }, "do not fit"), ({ try ask(limit: 383, allocator: "replicated") }, "rank 0"),
            ({ try ask(allocator: "best") }, "unknown allocator"),
        ] as [(() throws -> PlanProposal, String)] {
            let error = #expect(throws: PlacementError.self) { _ = try bad() }
            #expect(error.map { "\($0)" }?.contains(reason) == true, "\(reason): \(String(describing: error))")
        }
    }
}
