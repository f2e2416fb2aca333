import GradientChecks
import Layers
import Tensors
import Testing

@Suite struct ExpertTests {
    @Test(arguments: [(6, 5, 4), (1, 1, 1), (16, 33, 9)]) func gradients(hiddenSize: Int, width: Int, rows: Int) {
        let seed: UInt64 = 51
        let expert = Expert(hiddenSize: hiddenSize, width: width)
        expert.randomize(seed: seed, scale: 0.5)
        let x = Tensor.normal(rows, hiddenSize, seed: seed, "x")
        let dy = Tensor.normal(rows, hiddenSize, seed: seed, "dy")
        let y = Tensor(rows: rows, columns: hiddenSize)
        expert.forward(x, into: y, savingForBackward: true)
        let dx = Tensor(rows: rows, columns: hiddenSize)
        expert.backward(dy, into: dx)
        GradientCheck(seed: seed).expect(expert.subjects() + [.init(name: "x", value: x, gradient: dx)]) {
            expert.forward(x, into: y, savingForBackward: false)
            return y.product(with: dy)
        }
    }
}
