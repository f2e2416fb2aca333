import Foundation
import Tensors
import Testing

@Suite struct ExponentialTests {
    private func exponential(_ values: [Float]) -> [Float] {
        let x = Tensor(values, rows: 1, columns: values.count)
        let y = Tensor(rows: 1, columns: values.count)
        exponentials(of: x, into: y)
        return y.array
    }

    /// Floats of all magnitudes and both signs, evenly over their bit patterns.
    private var everyKind: [Float] { stride(from: UInt32(0), to: .max - 8191, by: 8191).map(Float.init(bitPattern:)) }

    @Test func agreesWithFoundationOverTheWholeRange() {
        let bounds: [Float] = [88.722_83, 88.722_84, -87.336_54, -87.4, -103.9, -103.97, -103.98, -104.1]
        let fine = (-1_050_000...900_000).map { Float($0) * 1e-4 }
        let arguments = everyKind + bounds + fine + [0, -0.0, .infinity, -.infinity, .leastNonzeroMagnitude]
        var largest = 0.0
        for (x, y) in zip(arguments, exponential(arguments)) {
            let exact = exp(Double(x))
            if x.isNaN {
                #expect(y.isNaN)
            } else if exact >= Double(Float.greatestFiniteMagnitude) * (1 + 1e-7) {
                #expect(y == .infinity, "x \(x)")
            } else if exact >= Double(Float.leastNormalMagnitude) {
                // A number that is none is not seen among the largest.
                largest = y.isNaN ? .infinity : max(largest, abs(Double(y) - exact) / exact)
            } else {
                // Denormal results have an absolute error: one unit in the last place.
                #expect(abs(Double(y) - exact) <= Double(Float.leastNonzeroMagnitude), "x \(x)")
            }
        }
        #expect(largest <= 2.4e-7)
    }

    @Test func aPartOfAVectorHasTheValuesOfAWholeOne() {
        let arguments = (0..<64).map { Float($0) * 0.37 - 11 }
        let all = exponential(arguments)
        for count in 0..<64 { #expect(exponential(Array(arguments[..<count])) == Array(all[..<count])) }
    }
}
