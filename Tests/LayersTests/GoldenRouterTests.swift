import Foundation
import Layers
import Tensors
import Testing

/// Choices, weights and gradients of routers in transformers, which `Golden/generate.py` wrote.
@Suite struct GoldenRouterTests {
    private struct Golden: Decodable {
        struct Case: Decodable {
            let x: [Float]
            let weight: [Float]
            let bias: [Float]?
            let factors: [Float]
            let experts: [Int32]
            let weights: [Float]
            let inputGradient: [Float]
            let weightGradient: [Float]
            let zLoss: Double
        }
        let tokens: Int
        let width: Int
        let experts: Int
        let cases: [String: Case]
    }

    /// The policies of the cases, as the models' configurations say.
    private static let policies: [String: RoutingPolicy] = {
        func policy(_ k: Int, _ change: (inout RoutingPolicy) -> Void) -> RoutingPolicy {
            var policy = RoutingPolicy(expertsPerToken: k)
            change(&policy)
            policy.zLossCoefficient = 1
            return policy
        }
        return [
            "qwen3, not renormalised": policy(3) { $0.renormalizes = false },
            "qwen3, renormalised": policy(3) { _ in },
            "gpt-oss": policy(4) { $0.softmaxIsOfSelected = true },
            "deepseek-v2": policy(3) {
                $0.renormalizes = false
                $0.scalingFactor = 1.5
                $0.groups = RoutingPolicy.Groups(count: 4, perToken: 2)
            },
            "deepseek-v3": policy(3) {
                $0.score = .sigmoid
                $0.biasUpdateRate = 0.001
                $0.scalingFactor = 2.5
                $0.groups = RoutingPolicy.Groups(count: 4, perToken: 2)
            },
            "deepseek-v3, not renormalised": policy(4) {
                $0.score = .sigmoid
                $0.biasUpdateRate = 0.001
                $0.renormalizes = false
                $0.groups = RoutingPolicy.Groups(count: 3, perToken: 3)
            },
        ]
    }()

    private static let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appending(path: "Golden/routers.json")

    @Test func choicesWeightsAndGradientsAreThoseOfTransformers() throws {
        let golden = try JSONDecoder().decode(Golden.self, from: Data(contentsOf: Self.file))
        #expect(golden.cases.keys.sorted() == Self.policies.keys.sorted())
        for (name, expected) in golden.cases.sorted(by: { $0.key < $1.key }) {
            try check(name, expected, golden)
        }
    }

    private func check(_ name: String, _ expected: Golden.Case, _ golden: Golden) throws {
        let policy = try #require(Self.policies[name])
        let router = Router(hiddenSize: golden.width, expertCount: golden.experts, policy: policy)
        router.weight.value = Tensor(expected.weight, rows: golden.experts, columns: golden.width)
        if let bias = expected.bias { router.selectionBias?.value = Tensor(bias, rows: 1, columns: golden.experts) }
        let x = Tensor(expected.x, rows: golden.tokens, columns: golden.width)
        let routing = try router.forward(x, savingForBackward: true)
        let k = policy.expertsPerToken
        // The order of a token's experts is open.
        let order = routing.experts.indices.sorted {
            ($0 / k, routing.experts[$0]) < ($1 / k, routing.experts[$1])
        }
        #expect(order.map { routing.experts[$0] } == expected.experts, "\(name)")
        expect(order.map { routing.weights[$0] }, expected.weights, "\(name): weights")
        let dx = Tensor(rows: golden.tokens, columns: golden.width, repeating: 0)
        router.backward(
            weightGradient: routing.experts.indices.map {
                expected.factors[Int(routing.tokens[$0]) * golden.experts + Int(routing.experts[$0])]
            },
            probabilityGradient: nil, addingTo: dx)
        expect(dx.array, expected.inputGradient, "\(name): gradient of the input")
        expect(router.weight.gradient.array, expected.weightGradient, "\(name): gradient of the weight")
        let zLoss = (router.statistics?.zLossSum ?? 0) / Double(golden.tokens)
        #expect(abs(zLoss - expected.zLoss) < 1e-5 * expected.zLoss, "\(name): z-loss")
    }

    private func expect(_ found: [Float], _ expected: [Float], _ what: String) {
        #expect(found.count == expected.count, "\(what)")
        // A number that is none is not seen among the largest.
        #expect((found + expected).allSatisfy { $0.isFinite }, "\(what)")
        let largest = expected.map(abs).max() ?? 0
        let difference = zip(found, expected).map { abs($0 - $1) }.max() ?? .infinity
        #expect(difference <= 1e-5 * largest, "\(what): differs by \(difference) of \(largest)")
    }
}
