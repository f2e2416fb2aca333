import GradientChecks
import Layers
import Tensors
import Testing

@Suite struct SparseMoEBlockTests {
    private static func make(experts: Int = 4) -> SparseMoEBlock {
        SparseMoEBlock(
            gate: Router(hiddenSize: 6, expertCount: experts, expertsPerToken: 2),
            experts: LocalExperts(hiddenSize: 6, widths: [Int](repeating: 5, count: experts)))
    }

    @Test(arguments: [false, true]) func gradients(hasProbabilityGradient: Bool) throws {
        let seed: UInt64 = 71
        let block = Self.make()
        block.randomize(seed: seed, scale: 0.7)
        let x = Tensor.normal(10, 6, seed: seed, "x")
        let dy = Tensor.normal(10, 6, seed: seed, "dy")
        let dp = Tensor.normal(1, 4, seed: seed, "dp", scale: 3)
        _ = try block.forward(x, savingForBackward: true)
        let loads = block.statistics?.expertLoads
        let dx = try block.backward(dy, probabilityGradient: hasProbabilityGradient ? dp.array : nil)
        try GradientCheck(seed: seed, step: 2e-3, tolerance: 5e-3).expect(
            block.subjects() + [.init(name: "x", value: x, gradient: dx)]
        ) {
            var loss = try block.forward(x, savingForBackward: true).product(with: dy)
            #expect(block.statistics?.expertLoads == loads, "a choice flipped: choose another seed than \(seed)")
            if hasProbabilityGradient, let sums = block.statistics?.probabilitySums {
                loss += zip(sums, dp.array).reduce(0) { $0 + $1.0 * Double($1.1) }
            }
            return loss
        }
    }

    @Test func onlyFittingExpertsReplaceExperts() throws {
        let block = Self.make()
        let other = LocalExperts(hiddenSize: 6, widths: [1, 2, 3, 4])
        try block.replaceChild("experts", with: other)
        #expect(block.children.first { $0.name == "experts" }?.module === other)
        #expect(throws: ModuleError.self) { try block.replaceChild("gate", with: other) }
        #expect(throws: ModuleError.self) {
            try block.replaceChild("experts", with: Linear(inputSize: 6, outputSize: 6))
        }
        #expect(throws: ModuleError.self) {
            try block.replaceChild("experts", with: LocalExperts(hiddenSize: 6, widths: [1, 2, 3]))
        }
        #expect(throws: ModuleError.self) {
            try block.replaceChild("experts", with: LocalExperts(hiddenSize: 5, widths: [1, 2, 3, 4]))
        }
        #expect(block.children.first { $0.name == "experts" }?.module === other)
    }

    @Test func takesNoTokens() throws {
        let block = Self.make()
        block.randomize(seed: 72, scale: 1)
        let y = try block.forward(Tensor(rows: 0, columns: 6), savingForBackward: true)
        #expect(try block.backward(y, probabilityGradient: [1, 2, 3, 4]).rows == 0)
    }
}
