import Foundation
import GradientChecks
import Layers
import Randomness
import Tensors
import Testing

/// Each way of choosing and weighing experts, by itself.
@Suite struct RoutingPolicyTests {
    /// A policy with a name, for tests that go through many.
    struct Variant: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let policy: RoutingPolicy
        var capacity: ExpertCapacity?

        init(
            _ name: String, k: Int = 2, capacity: ExpertCapacity? = nil,
            _ change: (inout RoutingPolicy) -> Void = { _ in }
        ) {
            var policy = RoutingPolicy(expertsPerToken: k)
            change(&policy)
            (testDescription, self.policy, self.capacity) = (name, policy, capacity)
        }
    }

    private static let deepSeek = Variant("sigmoid with biases, groups and a factor", k: 3) {
        $0.score = .sigmoid
        $0.biasUpdateRate = 0.01
        $0.groups = RoutingPolicy.Groups(count: 4, perToken: 2)
        $0.scalingFactor = 2.5
    }

    private static let variants = [
        Variant("not renormalised") { $0.renormalizes = false },
        Variant("not renormalised, with a factor", k: 3) {
            $0.renormalizes = false
            $0.scalingFactor = 1.5
        },
        Variant("softmax of the selected", k: 3) { $0.softmaxIsOfSelected = true },
        Variant("sigmoid") { $0.score = .sigmoid },
        Variant("sigmoid, not renormalised") {
            $0.score = .sigmoid
            $0.renormalizes = false
        },
        deepSeek,
        Variant("groups by their best expert") { $0.groups = RoutingPolicy.Groups(count: 4, perToken: 2) },
        Variant("softmax with biases") { $0.biasUpdateRate = 0.01 },
        Variant("expert choice") {
            $0.selection = .expertChoice
            $0.renormalizes = false
        },
        Variant("expert choice by sigmoids", k: 1) {
            $0.selection = .expertChoice
            $0.score = .sigmoid
            $0.renormalizes = false
        },
        Variant("jitter") { $0.jitter = 0.3 },
        Variant("dropped by position", capacity: ExpertCapacity(factor: 1)) { _ in },
        Variant("dropped by score", capacity: ExpertCapacity(factor: 0.8, dropPolicy: .score)) { _ in },
        Variant("not renormalised and dropped", capacity: ExpertCapacity(factor: 0.8, dropPolicy: .score)) {
            $0.renormalizes = false
            $0.score = .sigmoid
        },
    ]

    private static func router(_ variant: Variant, seed: UInt64) -> Router {
        let router = Router(hiddenSize: 6, expertCount: 8, policy: variant.policy)
        router.randomize(seed: seed, scale: 1)
        router.selectionBias?.value.copy(from: .normal(1, 8, seed: seed, "bias", scale: 0.2))
        router.capacity = variant.capacity
        return router
    }

    /// Losses of all kinds together: of the weights, of the probabilities, z and by sequence.
    @Test(arguments: variants, [false, true]) func gradients(variant: Variant, hasLosses: Bool) throws {
        let seed: UInt64 = 47
        var policy = variant.policy
        policy.zLossCoefficient = hasLosses ? 0.1 : 0
        policy.balancesSequences = hasLosses && policy.selection == .tokenChoice
        let router = Self.router(Variant("", capacity: variant.capacity) { $0 = policy }, seed: seed)
        let scales = RouterLossScales(zLoss: 0.03, sequenceLoss: policy.balancesSequences ? 0.7 : 0)
        let x = Tensor.normal(12, 6, seed: seed, "x")
        let factors = Tensor.normal(12, 8, seed: seed, "dw")
        let dp = Tensor.normal(1, 8, seed: seed, "dp")
        func pairs(_ routing: Routing) -> [(token: Int, expert: Int)] {
            zip(routing.tokens, routing.experts).map { (Int($0), Int($1)) }
        }
        func forward() throws -> Routing { try router.forward(x, sequenceLength: 4, savingForBackward: true) }
        let routing = try forward()
        let chosen = Set(pairs(routing).map { $0.token * 8 + $0.expert })
        if variant.capacity != nil { #expect(routing.count < 24, "nothing is dropped") }
        let dx = Tensor(rows: 12, columns: 6, repeating: 0)
        router.backward(
            weightGradient: pairs(routing).map { factors[$0.token, $0.expert] },
            probabilityGradient: hasLosses ? dp.array : nil, scales: scales, addingTo: dx)
        try GradientCheck(seed: seed, step: 1e-3).expect(
            router.subjects() + [.init(name: "x", value: x, gradient: dx)]
        ) {
            let routing = try forward()
            let same = Set(pairs(routing).map { $0.token * 8 + $0.expert }) == chosen
            #expect(same, "a choice flipped: take another seed than \(seed)")
            var loss = zip(pairs(routing), routing.weights).reduce(0) {
                $0 + Double(factors[$1.0.token, $1.0.expert]) * Double($1.1)
            }
            let statistics = try #require(router.statistics)
            if hasLosses {
                loss += zip(statistics.probabilitySums, dp.array).reduce(0) { $0 + $1.0 * Double($1.1) }
                loss += Double(scales.zLoss) * statistics.zLossSum
            }
            return loss + Double(scales.sequenceLoss) * statistics.sequenceLossSum
        }
    }

    /// Softmax over the selected experts gives the weights of softmax over all, renormalised.
    @Test func softmaxOfTheSelected() throws {
        let router = Self.router(Self.variants[2], seed: 3)
        let x = Tensor.normal(50, 6, seed: 3, "x")
        let routing = try router.forward(x, savingForBackward: false)
        for token in 0..<50 {
            let rows = 3 * token..<3 * token + 3
            let logits = rows.map { row in
                (0..<6).reduce(0) {
                    $0 + Double(x[token, $1]) * Double(router.weight.value[Int(routing.experts[row]), $1])
                }
            }
            let sum = logits.reduce(0) { $0 + exp($1) }
            for (row, logit) in zip(rows, logits) {
                #expect(abs(Double(routing.weights[row]) - exp(logit) / sum) < 1e-6)
            }
        }
    }

    @Test func tokensUseSomeGroupsOnly() throws {
        let router = Self.router(Self.deepSeek, seed: 5)
        let routing = try router.forward(.normal(200, 6, seed: 5, "x"), savingForBackward: false)
        for token in 0..<200 {
            let experts = routing.experts[3 * token..<3 * token + 3].map { Int($0) }
            #expect(Set(experts).count == 3 && Set(experts.map { $0 / 2 }).count <= 2)
            #expect(abs(routing.weights[3 * token..<3 * token + 3].reduce(0, +) - 2.5) < 1e-5)
        }
        // Without groups tokens reach farther.
        var free = Self.deepSeek.policy
        free.groups = nil
        let other = try Self.router(Variant("", { $0 = free }), seed: 5)
            .forward(.normal(200, 6, seed: 5, "x"), savingForBackward: false)
        #expect((0..<200).contains { token in Set(other.experts[3 * token..<3 * token + 3].map { $0 / 2 }).count > 2 })
    }

    /// Sigmoids of very negative logits are all 0, and their sum no divisor.
    @Test func scoresThatAreAllZeroAreNoTrap() throws {
        let router = Self.router(Self.variants[3], seed: 1)
        router.weight.value.fill(-1e4)
        let routing = try router.forward(Tensor(rows: 2, columns: 6, repeating: 1), savingForBackward: true)
        #expect(routing.weights.allSatisfy { abs($0) < 1e-6 })
        let dx = Tensor(rows: 2, columns: 6, repeating: 0)
        router.backward(weightGradient: [1, 2, 3, 4], probabilityGradient: (1...8).map(Float.init), addingTo: dx)
        #expect(dx.array.allSatisfy { $0.isFinite })
    }

    // MARK: Biases

    @Test func biasesGoAgainstTheLoads() throws {
        let router = Router(hiddenSize: 2, expertCount: 4, policy: Self.variants[7].policy)
        router.updateSelectionBias(loads: [4, 2, 0, 2])
        router.updateSelectionBias(loads: [3, 3, 1, 1])
        let bias = try #require(router.selectionBias)
        #expect(bias.value.array == [-0.02, -0.01, 0.02, 0.01])
        #expect(router.parameters.count == 1 && router.ownWeights.map(\.name) == ["weight", "e_score_correction_bias"])
    }

    /// They choose experts and do not weigh them.
    @Test func biasesChooseOnly() throws {
        let router = Self.router(Self.variants[7], seed: 9)
        let bias = try #require(router.selectionBias)
        bias.value.fill(0)
        let x = Tensor.normal(20, 6, seed: 9, "x")
        let before = try router.forward(x, savingForBackward: false)
        bias.value.fill(0.5)
        #expect(try router.forward(x, savingForBackward: false) == before)
        bias.value[0, 3] = 5
        let after = try router.forward(x, savingForBackward: true)
        #expect((0..<20).allSatisfy { after.experts[2 * $0] == 3 })
        #expect((0..<20).allSatisfy { abs(after.weights[2 * $0] + after.weights[2 * $0 + 1] - 1) < 1e-6 })
    }

    /// With a fixed input, loads become as even as choices allow.
    @Test func biasesBalance() throws {
        let router = Self.router(Variant("", k: 2) { $0.biasUpdateRate = 0.005 }, seed: 11)
        let x = Tensor.normal(256, 6, seed: 11, "x")
        func loads() throws -> [Int] { try router.forward(x, savingForBackward: false).expertLoads }
        let before = try loads().max() ?? 0
        for _ in 0..<300 { router.updateSelectionBias(loads: try loads()) }
        let after = try loads().max() ?? 0
        #expect(before > 200 && after < 80, "from \(before) to \(after); even is 64")
    }

    // MARK: Places

    /// Who gets a place, against sorting, with many equal scores.
    @Test(arguments: [false, true], [0.3, 0.9, 1.0, 1.3])
    func capacityKeepsTheFirstOrTheLargest(byScore: Bool, factor: Double) throws {
        let (tokens, experts, k) = (60, 4, 2)
        let router = Router(hiddenSize: 3, expertCount: experts, expertsPerToken: k)
        router.randomize(seed: 13, scale: 1)
        let generator = CounterBasedGenerator(seed: 13, purpose: "x")
        let x = Tensor(
            (0..<tokens * 3).map { Float(generator.integer(at: UInt64($0), below: 2)) }, rows: tokens, columns: 3)
        let all = try router.forward(x, savingForBackward: true)
        router.capacity = ExpertCapacity(factor: factor, dropPolicy: byScore ? .score : .position)
        let kept = try router.forward(x, savingForBackward: true)
        let places = Int((factor * 30).rounded(.up))
        for expert in 0..<experts {
            let rows = all.experts.indices.filter { Int(all.experts[$0]) == expert }
            let sorted = rows.sorted {
                byScore && all.weights[$0] != all.weights[$1] ? all.weights[$0] > all.weights[$1] : $0 < $1
            }
            let expected = sorted.prefix(places).sorted()
            let found = kept.experts.indices.filter { Int(kept.experts[$0]) == expert }
            #expect(found.map { kept.tokens[$0] } == expected.map { all.tokens[$0] })
            #expect(found.map { kept.weights[$0] } == expected.map { all.weights[$0] })
            #expect(router.statistics?.droppedLoads[expert] == rows.count - expected.count)
        }
        #expect(router.statistics?.expertLoads == all.expertLoads)
        // Validation and generation drop nothing.
        #expect(try router.forward(x, savingForBackward: false) == all)
    }

    @Test func capacityIsRoundedUpOnce() throws {
        let router = Router(hiddenSize: 1, expertCount: 4, expertsPerToken: 2)
        router.weight.value = Tensor([4, 3, 2, 1], rows: 4, columns: 1)
        // 1.1 · 100 · 2 / 4 is 55, but a little more in floating point.
        for (factor, tokens, places) in [(1.1, 100, 55), (1.0, 3, 2), (0.01, 10, 1), (100, 10, 10)] {
            router.capacity = ExpertCapacity(factor: factor)
            let routing = try router.forward(Tensor(rows: tokens, columns: 1, repeating: 1), savingForBackward: true)
            #expect(routing.expertLoads == [places, places, 0, 0])
        }
    }

    @Test func expertsTakeTheBestTokens() throws {
        var policy = Self.variants[8].policy
        policy.scalingFactor = 1.5
        let router = Router(hiddenSize: 4, expertCount: 5, policy: policy)
        router.randomize(seed: 17, scale: 1)
        let x = Tensor.normal(33, 4, seed: 17, "x")
        let routing = try router.forward(x, savingForBackward: true)
        #expect(routing.expertLoads == [14, 14, 14, 14, 14])
        #expect(zip(routing.tokens, routing.tokens.dropFirst()).allSatisfy { $0 <= $1 })
        var all = RoutingPolicy(expertsPerToken: 5)
        all.renormalizes = false
        let reference = Router(hiddenSize: 4, expertCount: 5, policy: all)
        reference.weight.value.copy(from: router.weight.value)
        let scores = try reference.forward(x, savingForBackward: false)
        for expert in 0..<Int32(5) {
            let rows = scores.experts.indices.filter { scores.experts[$0] == expert }
            let best = rows.sorted { scores.weights[$0] > scores.weights[$1] }.prefix(14).sorted()
            let found = routing.experts.indices.filter { routing.experts[$0] == expert }
            #expect(found.map { routing.tokens[$0] } == best.map { scores.tokens[$0] })
            #expect(found.map { routing.weights[$0] } == best.map { 1.5 * scores.weights[$0] })
        }
    }

    /// Of equal scores the first tokens'.
    @Test func equalScoresGoByToken() throws {
        let router = Router(hiddenSize: 4, expertCount: 5, policy: Self.variants[8].policy)
        router.weight.value.fill(0)
        let routing = try router.forward(.normal(10, 4, seed: 1, "x"), savingForBackward: true)
        #expect(routing.tokens == (0..<4).flatMap { [Int32](repeating: $0, count: 5) })
        #expect(routing.weights.allSatisfy { abs($0 - 0.2) < 1e-6 })
    }

    @Test(arguments: variants) func takesNoTokensAndWhatIsNotANumber(variant: Variant) throws {
        let router = Self.router(variant, seed: 21)
        let none = Tensor(rows: 0, columns: 6)
        #expect(try router.forward(none, sequenceLength: 4, savingForBackward: true).count == 0)
        router.backward(weightGradient: [], probabilityGradient: nil, addingTo: none)
        router.weight.value[2, 1] = .nan
        let x = Tensor.normal(9, 6, seed: 21, "x")
        let routing = try router.forward(x, sequenceLength: 3, savingForBackward: true)
        let dx = Tensor(rows: 9, columns: 6, repeating: 0)
        router.backward(
            weightGradient: [Float](repeating: 1, count: routing.count), probabilityGradient: nil, addingTo: dx)
    }

    // MARK: Noise and losses

    @Test func jitterIsThatOfTheTokenAndOfTrainingOnly() throws {
        let router = Self.router(Self.variants[10], seed: 23)
        let x = Tensor.normal(10, 6, seed: 23, "x")
        func weights(_ rows: Range<Int>, step: Int = 3, layer: Int = 1, trains: Bool = true) throws -> [Float] {
            let process = SingleProcess(seed: 4, step: step, layer: layer, firstToken: 100 + rows.lowerBound)
            return try router.forward(x.rows(rows), among: process, savingForBackward: trains).weights
        }
        let all = try weights(0..<10)
        // Products of fewer rows may round otherwise.
        #expect(try zip(weights(0..<4) + weights(4..<10), all).allSatisfy { abs($0 - $1) < 1e-6 })
        #expect(try weights(0..<10, step: 4) != all && weights(0..<10, layer: 2) != all)
        #expect(try weights(0..<10, trains: false) != all)
        #expect(try weights(0..<10, trains: false) == weights(0..<10, step: 9, trains: false))
    }

    @Test func evenRoutingHasABalanceLossOfOne() throws {
        var policy = RoutingPolicy(expertsPerToken: 2)
        policy.balancesSequences = true
        let router = Router(hiddenSize: 2, expertCount: 4, policy: policy)
        router.weight.value.fill(0)
        router.assignsEvenly = true
        _ = try router.forward(.normal(12, 2, seed: 1, "x"), sequenceLength: 4, savingForBackward: true)
        #expect(abs((router.statistics?.sequenceLossSum ?? 0) - 3) < 1e-6)
        #expect(throws: RouterError.partialSequences(tokens: 12, sequenceLength: 5)) {
            try router.forward(.normal(12, 2, seed: 1, "x"), sequenceLength: 5, savingForBackward: true)
        }
    }

    @Test func logSumExpOfLargeLogits() throws {
        var policy = RoutingPolicy(expertsPerToken: 1)
        policy.zLossCoefficient = 1
        let router = Router(hiddenSize: 1, expertCount: 3, policy: policy)
        router.weight.value = Tensor([-1, 0.5, 0.5], rows: 3, columns: 1)
        _ = try router.forward(Tensor([200, 0], rows: 2, columns: 1), savingForBackward: true)
        let expected = pow(100 + log(2.0), 2) + pow(log(3.0), 2)
        #expect(abs((router.statistics?.zLossSum ?? 0) - expected) < 1e-5 * expected)
    }
}
