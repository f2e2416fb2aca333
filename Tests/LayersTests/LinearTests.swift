import GradientChecks
import Layers
import Tensors
import Testing

@Suite struct LinearTests {
    @Test func forwardMultipliesWithTheTranspose() {
        let linear = Linear(inputSize: 3, outputSize: 2)
        linear.weight.value = Tensor([1, 2, 3, 4, 5, 6], rows: 2, columns: 3)
        let y = linear.forward(Tensor([1, 0, -1, 2, 2, 2], rows: 2, columns: 3), savingForBackward: false)
        #expect(y.array == [-2, -2, 12, 30])
    }

    @Test(arguments: [1 as UInt64, 2]) func gradients(seed: UInt64) {
        let linear = Linear(inputSize: 7, outputSize: 5)
        linear.randomize(seed: seed, scale: 1)
        let x = Tensor.normal(6, 7, seed: seed, "x")
        let dy = Tensor.normal(6, 5, seed: seed, "dy")
        _ = linear.forward(x, savingForBackward: true)
        let dx = linear.backward(dy)
        GradientCheck(seed: seed).expect(linear.subjects() + [.init(name: "x", value: x, gradient: dx)]) {
            linear.forward(x, savingForBackward: false).product(with: dy)
        }
    }

    @Test func gradientsWithABias() {
        let linear = Linear(inputSize: 7, outputSize: 70, hasBias: true)
        linear.randomize(seed: 5, scale: 1)
        let x = Tensor.normal(6, 7, seed: 5, "x")
        let dy = Tensor.normal(6, 70, seed: 5, "dy")
        _ = linear.forward(x, savingForBackward: true)
        let dx = linear.backward(dy)
        #expect(linear.parameters.map(\.name) == ["weight", "bias"])
        GradientCheck(seed: 5).expect(linear.subjects() + [.init(name: "x", value: x, gradient: dx)]) {
            linear.forward(x, savingForBackward: false).product(with: dy)
        }
        linear.addsBias = false
        let without = linear.forward(x, savingForBackward: false)
        linear.addsBias = true
        let with = linear.forward(x, savingForBackward: false)
        let bias = linear.bias?.value.array ?? []
        for index in 0..<with.count {
            #expect(abs(with.array[index] - without.array[index] - bias[index % 70]) < 1e-5)
        }
    }

    @Test func sharedWeightsAreAnothersParameter() {
        let owner = Linear(inputSize: 4, outputSize: 3)
        owner.randomize(seed: 6, scale: 1)
        let sharing = Linear(sharing: owner.weight)
        let (x, dy) = (Tensor.normal(5, 4, seed: 6, "x"), Tensor.normal(5, 3, seed: 6, "dy"))
        #expect(sharing.parameters.isEmpty)
        for linear in [owner, sharing] {
            _ = linear.forward(x, savingForBackward: true)
            _ = linear.backward(dy)
        }
        // The gradient is the sum of both uses'.
        GradientCheck(seed: 6).expect(owner.subjects()) {
            owner.forward(x, savingForBackward: false).product(with: dy)
                + sharing.forward(x, savingForBackward: false).product(with: dy)
        }
    }

    @Test func gradientsAreAddedUp() {
        let linear = Linear(inputSize: 4, outputSize: 3)
        linear.randomize(seed: 3, scale: 1)
        let (x, dy) = (Tensor.normal(5, 4, seed: 3, "x"), Tensor.normal(5, 3, seed: 3, "dy"))
        _ = linear.forward(x, savingForBackward: true)
        let dx = linear.backward(dy)
        let once = linear.weight.gradient.array
        _ = linear.forward(x, savingForBackward: true)
        linear.backward(dy, into: dx, adds: true)
        let dxOnce = Tensor(rows: 5, columns: 4)
        _ = linear.forward(x, savingForBackward: true)
        linear.backward(dy, into: dxOnce)
        for (index, value) in linear.weight.gradient.array.enumerated() { #expect(abs(value - 3 * once[index]) < 1e-4) }
        for (sum, part) in zip(dx.array, dxOnce.array) { #expect(abs(sum - 2 * part) < 1e-5) }
    }

    @Test func takesNoRows() {
        let linear = Linear(inputSize: 4, outputSize: 3)
        let y = linear.forward(Tensor(rows: 0, columns: 4), savingForBackward: true)
        #expect(y.rows == 0 && y.columns == 3)
        #expect(linear.backward(y).columns == 4)
        #expect(linear.weight.gradient.array.allSatisfy { $0 == 0 })
    }
}
