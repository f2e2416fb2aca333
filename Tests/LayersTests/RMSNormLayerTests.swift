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

    /// Rows of which two layers have some columns each: what they need of each other are sums.
    @Test func gradientsOfPartsOfRows() {
        let seed: UInt64 = 13
        let sizes = [9, 21]
        let norms = sizes.map { RMSNormLayer(size: $0, epsilon: 0.1) }
        let x = sizes.map { Tensor.normal(5, $0, seed: seed, "x\($0)") }
        let dy = sizes.map { Tensor.normal(5, $0, seed: seed, "dy\($0)") }
        for (index, norm) in norms.enumerated() { norm.randomize(seed: seed + UInt64(index), scale: 1) }
        func means(_ sums: [[Float]]) -> [Float] { zip(sums[0], sums[1]).map { ($0 + $1) / 30 } }
        func forward(saving: Bool) -> [Tensor] {
            let meanSquares = means(x.map { Rows.dots($0, $0) })
            return zip(norms, x).map { $0.forward($1, meanSquares: meanSquares, savingForBackward: saving) }
        }
        let whole = Tensor(rows: 5, columns: 30)
        let (y, inverseRMS) = (Tensor(rows: 5, columns: 30), Tensor(rows: 5, columns: 1))
        let weight = Tensor(rows: 1, columns: 30)
        for (index, columns) in [0..<9, 9..<30].enumerated() {
            whole.columns(columns).copy(from: x[index])
            weight.columns(columns).copy(from: norms[index].weight.value)
        }
        RMSNorm.forward(whole, weight: weight, epsilon: 0.1, into: y, inverseRMS: inverseRMS)
        let parts = forward(saving: true)
        for row in 0..<5 {
            for column in 0..<30 {
                let found = column < 9 ? parts[0][row, column] : parts[1][row, column - 9]
                #expect(abs(found - y[row, column]) < 1e-6)
            }
        }
        let productMeans = means(zip(norms, dy).map { $0.weightBackward($1) })
        let dx = zip(norms, dy).map { norm, dy in
            let dx = Tensor(rows: 5, columns: dy.columns, repeating: 0)
            norm.inputBackward(dy, productMeans: productMeans, addingTo: dx)
            return dx
        }
        let subjects = norms.flatMap { $0.subjects() } + zip(x, dx).map { .init(name: "x", value: $0, gradient: $1) }
        GradientCheck(seed: seed).expect(subjects) {
            zip(forward(saving: false), dy).reduce(0) { $0 + $1.0.product(with: $1.1) }
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
