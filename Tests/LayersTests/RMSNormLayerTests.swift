import GradientChecks
import Layers
import Tensors
import Testing

@Suite struct RMSNormLayerTests {
    @Test(arguments: [1e-5 as Float, 0.5]) func gradients(epsilon: Float) {
        let seed: UInt64 = 11
        let norm = RMSNormLayer(size: 9, epsilon: epsilon)
        norm.randomize(seed: seed, scale: 1)
        let x = Tensor.normal(5, 9, seed: seed, "x")
        let dy = Tensor.normal(5, 9, seed: seed, "dy")
        _ = norm.forward(x, savingForBackward: true)
        #expect(norm.savedInput != nil)
        let dx = Tensor(rows: 5, columns: 9, repeating: 0)
        norm.backward(dy, addingTo: dx)
        #expect(norm.savedInput == nil)
        GradientCheck(seed: seed).expect(norm.subjects() + [.init(name: "x", value: x, gradient: dx)]) {
            norm.forward(x, savingForBackward: false).product(with: dy)
        }
    }

    @Test func addsToTheInputGradient() {
        let norm = RMSNormLayer(size: 4, epsilon: 1e-5)
        norm.randomize(seed: 12, scale: 1)
        let (x, dy) = (Tensor.normal(2, 4, seed: 12, "x"), Tensor.normal(2, 4, seed: 12, "dy"))
        let (plain, added) = (Tensor(rows: 2, columns: 4, repeating: 0), Tensor(rows: 2, columns: 4, repeating: 1))
        for gradient in [plain, added] {
            _ = norm.forward(x, savingForBackward: true)
            norm.backward(dy, addingTo: gradient)
        }
        for (with, without) in zip(added.array, plain.array) { #expect(abs(with - 1 - without) < 1e-5) }
    }
}
