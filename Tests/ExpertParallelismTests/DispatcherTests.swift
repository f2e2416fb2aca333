import ExpertParallelism
import ExpertPlacement
import Layers
import Randomness
import TestSupport
import Testing

@Suite struct DispatcherTests {
    /// A layer of experts on `worldSize` ranks, each with a replica on all of them, or two.
    private func placement(worldSize: Int, fractions: [Double]?) throws -> LayerPlacement {
        let replicas = fractions?.count ?? worldSize
        return LayerPlacement(
            experts: try (0..<3).map { _ in
                try ExpertPlacement(
                    width: 4, mesh: DeviceMesh(dataParallel: replicas, tensorParallel: 1, ranks: Array(0..<replicas)),
                    fractions: fractions)
            })
    }

    /// `tokens` tokens from `first`, each with two of three experts.
    private func routing(first: Int, tokens: Int) -> Routing {
        let rows = 0..<2 * tokens
        return Routing(
            tokenCount: tokens, expertCount: 3, tokens: rows.map { Int32($0 / 2) },
            experts: rows.map { Int32((first + $0 / 2 + $0 % 2) % 3) }, weights: rows.map { _ in 0.5 })
    }

    private func origin(rank: Int = 0, step: Int = 0, layer: Int = 0, firstToken: Int = 0) -> DispatchOrigin {
        DispatchOrigin(rank: rank, step: step, layer: layer, firstToken: firstToken)
    }

    @Test(arguments: [[0.5, 0.5], [0.9, 0.1], [0.25, 0.0, 0.75], [0, 1, 0], [0.2, 0.2, 0.2, 0.2, 0.2]])
    func randomObeysTheFractions(fractions: [Double]) throws {
        let seed = TestRuns.seed("fractions \(fractions)")
        let placement = try placement(worldSize: fractions.count, fractions: fractions)
        let tokens = 30_000
        let routing = routing(first: 0, tokens: tokens)
        var dispatcher = RandomDispatcher(seed: seed)
        let replicas = dispatcher.assignTask(routing, placement: placement, origin: origin())
        for expert in 0..<3 {
            let chosen = zip(routing.experts, replicas).filter { $0.0 == expert }.map(\.1)
            for (replica, fraction) in fractions.enumerated() {
                let count = chosen.count { $0 == replica }
                let expected = Double(chosen.count) * fraction
                // Six standard deviations: beyond them falls one of 500 million draws.
                let deviation = (expected * (1 - fraction)).squareRoot()
                #expect(
                    abs(Double(count) - expected) <= 6 * deviation,
                    "expert \(expert), replica \(replica): \(count) rows, \(expected) expected (seed \(seed))")
            }
        }
    }

    @Test(arguments: ["random", "local-first"]) func assignTaskAgreesWithChooseReplica(name: String) throws {
        let placement = LayerPlacement(
            experts: [
                try ExpertPlacement(
                    width: 4, mesh: DeviceMesh(dataParallel: 2, tensorParallel: 2, ranks: [3, 1, 0, 2]),
                    fractions: [0.3, 0.7]),
                try ExpertPlacement(width: 4, mesh: DeviceMesh(dataParallel: 1, tensorParallel: 1, ranks: [2])),
                try ExpertPlacement(width: 4, mesh: DeviceMesh(dataParallel: 3, tensorParallel: 1, ranks: [2, 4, 0])),
            ])
        var dispatcher = try TokenDispatchers.make(named: name, seed: 77)
        for rank in 0..<5 {
            let origin = origin(rank: rank, step: 3, layer: 1, firstToken: 40)
            let routing = routing(first: 1, tokens: 50)
            let replicas = dispatcher.assignTask(routing, placement: placement, origin: origin)
            for row in 0..<routing.count {
                let expert = Int(routing.experts[row])
                #expect(
                    replicas[row]
                        == dispatcher.chooseReplica(
                            token: 40 + Int(routing.tokens[row]), expert: expert,
                            placement: placement.experts[expert], origin: origin))
            }
        }
    }

    /// A token's replica is the same whichever rank it is on, and however many there are.
    @Test func randomDoesNotDependOnTheBlocks() throws {
        let placement = try placement(worldSize: 4, fractions: nil)
        var dispatcher = RandomDispatcher(seed: 9)
        let whole = dispatcher.assignTask(routing(first: 0, tokens: 60), placement: placement, origin: origin())
        for worldSize in 1...4 {
            let parts = (0..<worldSize).flatMap { rank -> [Int] in
                let tokens = evenPart(rank, of: worldSize, in: 0..<60)
                return dispatcher.assignTask(
                    routing(first: tokens.lowerBound, tokens: tokens.count), placement: placement,
                    origin: origin(rank: rank, firstToken: tokens.lowerBound))
            }
            #expect(parts == whole)
        }
    }

    @Test func randomDependsOnSeedStepAndLayer() throws {
        let placement = try placement(worldSize: 4, fractions: nil)
        func replicas(seed: UInt64 = 1, step: Int = 0, layer: Int = 0) -> [Int] {
            var dispatcher = RandomDispatcher(seed: seed)
            return dispatcher.assignTask(
                routing(first: 0, tokens: 60), placement: placement, origin: origin(step: step, layer: layer))
        }
        #expect(replicas() == replicas())
        let all = [replicas(), replicas(seed: 2), replicas(step: 1), replicas(layer: 1)]
        #expect(Set(all).count == all.count)
    }

    @Test func localFirstStaysWhereItCan() throws {
        let placement = LayerPlacement(
            experts: try (0..<3).map { _ in
                try ExpertPlacement(
                    width: 4, mesh: DeviceMesh(dataParallel: 2, tensorParallel: 2, ranks: [1, 3, 0, 2]))
            })
        var dispatcher = LocalFirstDispatcher(seed: 4)
        var random = RandomDispatcher(seed: 4)
        for (rank, replica) in [(0, 1), (1, 0), (2, 1), (3, 0)] {
            let replicas = dispatcher.assignTask(
                routing(first: 0, tokens: 20), placement: placement, origin: origin(rank: rank))
            #expect(replicas == [Int](repeating: replica, count: 40))
        }
        let (routing, outside) = (routing(first: 0, tokens: 20), origin(rank: 4))
        let elsewhere = dispatcher.assignTask(routing, placement: placement, origin: outside)
        #expect(elsewhere == random.assignTask(routing, placement: placement, origin: outside))
    }

    /// Every rank gives each replica its share to less than a row, and the steps' rounding evens out.
    @Test(arguments: [[0.5, 0.5], [0.9, 0.1], [0.25, 0.0, 0.75], [0, 1, 0], [0.07, 0.33, 0.2, 0.2, 0.2]])
    func weightedCountsAreExact(fractions: [Double]) throws {
        let seed = TestRuns.seed("weighted \(fractions)")
        let placement = try placement(worldSize: fractions.count, fractions: fractions)
        var totals = [Double](repeating: 0, count: fractions.count)
        var rows = 0
        var dispatcher = WeightedDispatcher(seed: seed)
        for step in 0..<200 {
            let routing = routing(first: step, tokens: 1 + step % 37)
            let replicas = dispatcher.assignTask(
                routing, placement: placement, origin: origin(step: step))
            for expert in 0..<3 {
                let chosen = zip(routing.experts, replicas).filter { $0.0 == expert }.map(\.1)
                rows += chosen.count
                for (replica, fraction) in fractions.enumerated() {
                    let count = chosen.count { $0 == replica }
                    totals[replica] += Double(count)
                    let share = fraction * Double(chosen.count)
                    #expect(abs(Double(count) - share) < 1 + 1e-9, "\(count) rows of \(share)")
                    #expect(fraction > 0 || count == 0)
                }
            }
        }
        for (total, fraction) in zip(totals, fractions) {
            // 600 roundings, each with a variance of a quarter row at most: six standard deviations.
            #expect(abs(total - fraction * Double(rows)) <= 6 * (600.0 / 4).squareRoot(), "seed \(seed)")
        }
    }

    @Test func leastLoadedCountsAreExact() throws {
        let seed = TestRuns.seed("least-loaded")
        func expert(_ replicas: Int, _ shards: Int, _ ranks: [Int], width: Int = 4, fractions: [Double]? = nil) throws
            -> ExpertPlacement
        {
            try ExpertPlacement(
                width: width, mesh: DeviceMesh(dataParallel: replicas, tensorParallel: shards, ranks: ranks),
                fractions: fractions)
        }
        func counts(_ experts: [ExpertPlacement], rows: [Int], rank: Int) -> [[Int]] {
            let order = rows.enumerated().flatMap { [Int32](repeating: Int32($0.offset), count: $0.element) }
            let routing = Routing(
                tokenCount: order.count, expertCount: rows.count, tokens: order.indices.map(Int32.init),
                experts: order, weights: order.map { _ in 1 })
            var dispatcher = LeastLoadedDispatcher(seed: seed)
            let replicas = dispatcher.assignTask(
                routing, placement: LayerPlacement(experts: experts), origin: origin(rank: rank))
            return experts.enumerated().map { expert, placement in
                (0..<placement.mesh.dataParallel).map { replica in
                    zip(order, replicas).count { $0 == (Int32(expert), replica) }
                }
            }
        }
        for rank in 0..<3 {
            // Equal replicas share evenly.
            let even = counts([try expert(3, 1, [0, 1, 2])], rows: [31], rank: rank)
            #expect(even[0].sorted() == [10, 10, 11])
            // Rank 0 has 10 rows already, of an expert without choice: all even out at 20.
            let filled = counts(
                [try expert(3, 1, [2, 0, 1]), try expert(1, 1, [0])], rows: [50, 10], rank: rank)
            #expect(filled == [[20, 10, 20], [10]])
            // Rank 0 has 6 rows of half the neurons, the work of 3 whole ones: 5 and 3 against 8.
            let halves = counts(
                [try expert(1, 2, [0, 1]), try expert(2, 1, [0, 2])], rows: [6, 13], rank: rank)
            #expect(halves == [[6], [5, 8]])
            // A replica without a fraction gets nothing.
            let closed = counts([try expert(3, 1, [0, 1, 2], fractions: [0.5, 0, 0.5])], rows: [8], rank: rank)
            #expect(closed == [[4, 0, 4]])
        }
    }

    /// What a dispatcher keeps of a placement goes with it.
    @Test(arguments: TokenDispatchers.names) func followsAnotherPlacement(name: String) throws {
        let placements = [
            try placement(worldSize: 4, fractions: nil), try placement(worldSize: 2, fractions: [0.9, 0.1]),
            try placement(worldSize: 2, fractions: [0.1, 0.9]), try placement(worldSize: 4, fractions: nil),
        ]
        var dispatcher = try TokenDispatchers.make(named: name, seed: 3)
        for (step, placement) in placements.enumerated() {
            var other = try TokenDispatchers.make(named: name, seed: 3)
            let routing = routing(first: step, tokens: 40)
            let fresh = other.assignTask(routing, placement: placement, origin: origin(rank: 5, step: step))
            for _ in 0..<2 {
                let again = dispatcher.assignTask(routing, placement: placement, origin: origin(rank: 5, step: step))
                #expect(again == fresh)
            }
        }
    }

    @Test(arguments: ["least-loaded", "weighted"]) func countsComeFromTheSeed(name: String) throws {
        let placement = try placement(worldSize: 4, fractions: nil)
        func replicas(_ seed: UInt64, step: Int) throws -> [Int] {
            var dispatcher = try TokenDispatchers.make(named: name, seed: seed)
            return dispatcher.assignTask(
                routing(first: 0, tokens: 61), placement: placement, origin: origin(step: step))
        }
        #expect(try replicas(1, step: 0) == replicas(1, step: 0))
        let draws = Set(try (0..<20).map { try replicas(UInt64($0), step: 0) })
        #expect(draws.count > 1)
        let steps = Set(try (0..<20).map { try replicas(1, step: $0) })
        #expect(steps.count > 1)
    }

    @Test func unknownNameListsTheKnown() {
        #expect(throws: ParallelizationError.unknownDispatcher("nearest")) {
            try TokenDispatchers.make(named: "nearest", seed: 0)
        }
        #expect(
            "\(ParallelizationError.unknownDispatcher("nearest"))".contains(
                "random, local-first, least-loaded, weighted"))
    }
}
