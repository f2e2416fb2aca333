import Foundation
import GradientChecks
import Layers
import Tensors
import Testing

@Suite struct RouterTests {
    @Test func choosesAndRenormalises() throws {
        let router = Router(hiddenSize: 1, expertCount: 4, expertsPerToken: 2)
        router.weight.value = Tensor([0, 1, 3, 2], rows: 4, columns: 1)
        let routing = try router.forward(Tensor([1, -1], rows: 2, columns: 1), savingForBackward: true)
        #expect(routing.tokenCount == 2 && routing.expertCount == 4)
        #expect(routing.tokens == [0, 0, 1, 1])
        #expect(routing.experts == [2, 3, 0, 1])
        let first = Float(1 / (1 + exp(-1.0)))
        for (found, expected) in zip(routing.weights, [first, 1 - first, first, 1 - first]) {
            #expect(abs(found - expected) < 1e-6)
        }
        let statistics = router.statistics
        #expect(statistics?.expertLoads == [1, 1, 1, 1])
        let total = statistics?.probabilitySums.reduce(0, +) ?? 0
        #expect(abs(total - 2) < 1e-6)
    }

    @Test func equalLogitsChooseTheFirst() throws {
        let router = Router(hiddenSize: 2, expertCount: 8, expertsPerToken: 3)
        router.weight.value.fill(0)
        let routing = try router.forward(Tensor.normal(4, 2, seed: 41, "x"), savingForBackward: false)
        #expect(routing.experts == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2])
        #expect(routing.weights.allSatisfy { abs($0 - 1.0 / 3) < 1e-6 })
        #expect(router.statistics == nil)
    }

    @Test func largeLogitsStayFinite() throws {
        let router = Router(hiddenSize: 1, expertCount: 3, expertsPerToken: 2)
        router.weight.value = Tensor([-1, 0, 1], rows: 3, columns: 1)
        let routing = try router.forward(Tensor([1e4], rows: 1, columns: 1), savingForBackward: true)
        #expect(routing.experts == [2, 0])  // The other two underflow to equal probabilities.
        #expect(routing.weights == [1, 0])
        let dx = Tensor(rows: 1, columns: 1, repeating: 0)
        router.backward(weightGradient: [1, 2], probabilityGradient: [1, 2, 3], addingTo: dx)
        #expect(dx[0, 0].isFinite)
    }

    /// The loss is a sum over (token, expert) pairs, so that equal choices in another order are no difference; the pairs
    /// themselves must not change under the differences' steps.
    @Test(arguments: [(8, 2, false), (8, 2, true), (4, 1, true), (4, 4, false), (4, 4, true), (33, 8, true)])
    func gradients(experts: Int, k: Int, hasProbabilityGradient: Bool) throws {
        let seed: UInt64 = 42
        let router = Router(hiddenSize: 6, expertCount: experts, expertsPerToken: k)
        router.randomize(seed: seed, scale: 1)
        let x = Tensor.normal(7, 6, seed: seed, "x")
        let factors = Tensor.normal(7, experts, seed: seed, "dw")
        let dp = Tensor.normal(1, experts, seed: seed, "dp")
        func pairs(_ routing: Routing) -> [(token: Int, expert: Int)] {
            zip(routing.tokens, routing.experts).map { (Int($0), Int($1)) }
        }
        let routing = try router.forward(x, savingForBackward: true)
        let chosen = Set(pairs(routing).map { $0.token * experts + $0.expert })
        let dx = Tensor(rows: 7, columns: 6, repeating: 0)
        router.backward(
            weightGradient: pairs(routing).map { factors[$0.token, $0.expert] },
            probabilityGradient: hasProbabilityGradient ? dp.array : nil, addingTo: dx)
        try GradientCheck(seed: seed, step: 1e-3).expect(
            router.subjects() + [.init(name: "x", value: x, gradient: dx)]
        ) {
            let routing = try router.forward(x, savingForBackward: true)
            let same = Set(pairs(routing).map { $0.token * experts + $0.expert }) == chosen
            #expect(same, "a choice flipped: take another seed than \(seed)")
            var loss = zip(pairs(routing), routing.weights).reduce(0) {
                $0 + Double(factors[$1.0.token, $1.0.expert]) * Double($1.1)
            }
            if hasProbabilityGradient, let sums = router.statistics?.probabilitySums {
                loss += zip(sums, dp.array).reduce(0) { $0 + $1.0 * Double($1.1) }
            }
            return loss
        }
    }

    @Test func takesNoTokens() throws {
        let router = Router(hiddenSize: 2, expertCount: 4, expertsPerToken: 2)
        let x = Tensor(rows: 0, columns: 2)
        let routing = try router.forward(x, savingForBackward: true)
        #expect(routing.count == 0 && routing.tokenCount == 0 && routing.expertCount == 4)
        #expect(router.statistics?.probabilitySums == [0, 0, 0, 0])
        router.backward(weightGradient: [], probabilityGradient: [1, 1, 1, 1], addingTo: x)
    }

    @Test func survivesWhatIsNotANumber() throws {
        let router = Router(hiddenSize: 1, expertCount: 4, expertsPerToken: 2)
        router.weight.value = Tensor([0, .nan, 1, 2], rows: 4, columns: 1)
        let routing = try router.forward(Tensor([1], rows: 1, columns: 1), savingForBackward: true)
        #expect(Set(routing.experts).count == 2)
    }
}
