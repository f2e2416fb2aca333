import Foundation
import GradientChecks
import Layers
import Tensors
import Testing

@Suite struct SparseMoEBlockTests {
    private static func make(experts: Int = 4, shared: SharedExpert? = nil) -> SparseMoEBlock {
        SparseMoEBlock(
            gate: Router(hiddenSize: 6, expertCount: experts, expertsPerToken: 2),
            experts: LocalExperts(hiddenSize: 6, widths: [Int](repeating: 5, count: experts)), shared: shared)
    }

    private static func shared(hasGate: Bool) -> SharedExpert {
        SharedExpert(
            name: hasGate ? "shared_expert" : "shared_experts", hiddenSize: 6, width: 9, hasGate: hasGate)
    }

    @Test(arguments: [false, true]) func gradientsOfASharedExpert(hasGate: Bool) throws {
        let seed: UInt64 = 73
        let block = Self.make(shared: Self.shared(hasGate: hasGate))
        block.randomize(seed: seed, scale: 0.7)
        let x = Tensor.normal(10, 6, seed: seed, "x")
        let dy = Tensor.normal(10, 6, seed: seed, "dy")
        _ = try block.forward(x, savingForBackward: true)
        let loads = block.statistics?.expertLoads
        let dx = try block.backward(dy, probabilityGradient: nil)
        try GradientCheck(seed: seed, step: 2e-3, tolerance: 5e-3).expect(
            block.subjects() + [.init(name: "x", value: x, gradient: dx)]
        ) {
            let loss = try block.forward(x, savingForBackward: true).product(with: dy)
            #expect(block.statistics?.expertLoads == loads, "a choice flipped: choose another seed than \(seed)")
            return loss
        }
    }

    /// What the router's experts give, and with the gate's weight what a dense network of the same weights gives.
    @Test(arguments: [false, true]) func theSharedExpertIsAdded(hasGate: Bool) throws {
        let block = Self.make(shared: Self.shared(hasGate: hasGate))
        block.randomize(seed: 74, scale: 0.7)
        let alone = Self.make()
        let dense = Expert(hiddenSize: 6, width: 9, names: .projections)
        let weights = Dictionary(uniqueKeysWithValues: block.namedParameters().map { ($0.name, $0.parameter.value) })
        for (name, parameter) in alone.namedParameters() { parameter.value = try #require(weights[name]) }
        let name = hasGate ? "shared_expert" : "shared_experts"
        for (matrix, parameter) in dense.namedParameters() {
            parameter.value = try #require(weights["\(name).\(matrix)"])
        }
        let x = Tensor.normal(10, 6, seed: 74, "x")
        let (y, routed) = try (
            block.forward(x, savingForBackward: false), alone.forward(x, savingForBackward: false)
        )
        let shared = Tensor(rows: 10, columns: 6)
        dense.forward(x, into: shared, savingForBackward: false)
        for row in 0..<10 {
            var factor = 1.0
            if hasGate {
                let gate = try #require(weights["shared_expert_gate.weight"])
                factor = 1 / (1 + exp(-x.rows(row..<row + 1).product(with: gate)))
            }
            for column in 0..<6 {
                let expected = Double(routed[row, column]) + factor * Double(shared[row, column])
                #expect(abs(Double(y[row, column]) - expected) < 1e-5)
            }
        }
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
