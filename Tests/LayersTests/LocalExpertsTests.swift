import GradientChecks
import Layers
import Randomness
import Tensors
import Testing

@Suite struct LocalExpertsTests {
    /// Between no and all experts a token, in a random order; expert 1 gets nothing.
    private static func routing(tokens: Int, experts: Int, seed: UInt64) -> Routing {
        let generator = CounterBasedGenerator(seed: seed, purpose: "routing")
        var (rowTokens, rowExperts, weights) = ([Int32](), [Int32](), [Float]())
        for token in 0..<tokens {
            for expert in (0..<experts).reversed() where expert != 1 {
                let index = UInt64(token * experts + expert)
                guard generator.integer(at: index, below: 2) == 1 else { continue }
                rowTokens.append(Int32(token))
                rowExperts.append(Int32(expert))
                weights.append(Float(generator.uniform(at: index + 1_000_000)))
            }
        }
        return Routing(
            tokenCount: tokens, expertCount: experts, tokens: rowTokens, experts: rowExperts, weights: weights)
    }

    private static func make(seed: UInt64) -> LocalExperts {
        let experts = LocalExperts(hiddenSize: 6, widths: [4, 5, 7, 3])
        experts.randomize(seed: seed, scale: 0.5)
        return experts
    }

    @Test func isTheWeightedSumOfTheExperts() throws {
        let seed: UInt64 = 61
        let experts = Self.make(seed: seed)
        let routing = Self.routing(tokens: 9, experts: 4, seed: seed)
        let x = Tensor.normal(9, 6, seed: seed, "x")
        let y = experts.forward(x, routing: routing, savingForBackward: false)
        let expected = Tensor(rows: 9, columns: 6, repeating: 0)
        let single = Tensor(rows: 1, columns: 6)
        for row in 0..<routing.count {
            let (token, index) = (Int(routing.tokens[row]), Int(routing.experts[row]))
            let expert = try #require(experts.children[index].module as? Expert)
            expert.forward(x.rows(token..<token + 1), into: single, savingForBackward: false)
            for column in 0..<6 { expected[token, column] += routing.weights[row] * single[0, column] }
        }
        for (found, expected) in zip(y.array, expected.array) { #expect(abs(found - expected) < 1e-5, "seed \(seed)") }
    }

    @Test(arguments: [62 as UInt64, 63]) func gradients(seed: UInt64) {
        let experts = Self.make(seed: seed)
        let routing = Self.routing(tokens: 9, experts: 4, seed: seed)
        let x = Tensor.normal(9, 6, seed: seed, "x")
        let dy = Tensor.normal(9, 6, seed: seed, "dy")
        _ = experts.forward(x, routing: routing, savingForBackward: true)
        let (dx, dw) = experts.backward(dy)
        let subjects = experts.subjects().filter { !$0.name.hasPrefix("1.") }
        GradientCheck(seed: seed).expect(subjects + [.init(name: "x", value: x, gradient: dx)]) {
            experts.forward(x, routing: routing, savingForBackward: false).product(with: dy)
        }

        let weights = Tensor(routing.weights, rows: 1, columns: routing.count)
        let gradient = Tensor(dw, rows: 1, columns: routing.count)
        GradientCheck(seed: seed).expect([.init(name: "weights", value: weights, gradient: gradient)]) {
            let changed = Routing(
                tokenCount: 9, expertCount: 4, tokens: routing.tokens, experts: routing.experts,
                weights: weights.array)
            return experts.forward(x, routing: changed, savingForBackward: false).product(with: dy)
        }
        for (name, parameter) in experts.namedParameters() where name.hasPrefix("1.") {
            #expect(parameter.gradient.array.allSatisfy { $0 == 0 }, "expert 1 got no tokens")
        }
    }

    @Test func takesNoTokensAndNoRows() {
        let experts = Self.make(seed: 64)
        for tokens in [0, 3] {
            let routing = Routing(tokenCount: tokens, expertCount: 4, tokens: [], experts: [], weights: [])
            let y = experts.forward(
                Tensor.normal(tokens, 6, seed: 64, "x"), routing: routing, savingForBackward: true)
            #expect(y.array == [Float](repeating: 0, count: tokens * 6))
            let (dx, dw) = experts.backward(Tensor.normal(tokens, 6, seed: 64, "dy"))
            #expect(dx.array == [Float](repeating: 0, count: tokens * 6) && dw.isEmpty)
        }
    }

    @Test func takesNoMemoryBeforeWeightsAreSet() {
        let experts = LocalExperts(hiddenSize: 1 << 16, widths: [Int](repeating: 1 << 18, count: 256))
        #expect(experts.widths.count == 256)
        #expect(experts.namedParameters().allSatisfy { !$0.parameter.isMaterialized })
    }
}
