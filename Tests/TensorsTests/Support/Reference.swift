import Tensors

/// The entries in double precision.
func doubles(_ tensor: Tensor) -> [Double] { tensor.array.map(Double.init) }

/// The largest difference to the expected entries, relative to the largest of them, or to 1 when all are smaller.
/// Infinite when one is NaN and the other is not.
func largestError(_ actual: [Float], _ expected: [Double]) -> Double {
    guard actual.count == expected.count else { return .infinity }
    var scale = 1.0
    var largest = 0.0
    for (a, e) in zip(actual, expected) {
        scale = max(scale, e.isFinite ? abs(e) : 1)
        if Double(a) == e || (a.isNaN && e.isNaN) { continue }
        let error = abs(Double(a) - e)
        largest = max(largest, error.isNaN ? .infinity : error)
    }
    return largest / scale
}

func largestError(_ actual: Tensor, _ expected: [Double]) -> Double { largestError(actual.array, expected) }

/// Central differences of `f` at `x`, in double precision, so that their own error is far below that of fp32 kernels.
func numericalGradient(at x: [Double], of f: ([Double]) -> Double) -> [Double] {
    let step = 1e-5
    var moved = x
    return x.indices.map { index in
        defer { moved[index] = x[index] }
        moved[index] = x[index] + step
        let above = f(moved)
        moved[index] = x[index] - step
        return (above - f(moved)) / (2 * step)
    }
}

/// Σ a·b.
func dot(_ a: [Double], _ b: [Double]) -> Double { zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } }

/// Calls `body` with each pair.
func withEvery<A, B>(_ first: some Sequence<A>, _ second: some Sequence<B>, _ body: (A, B) -> Void) {
    for a in first { for b in second { body(a, b) } }
}

/// Row counts and widths around the sizes that kernels treat differently: none, one, parts of a vector, several vectors.
let interestingRows = [0, 1, 2, 5]
let interestingColumns = [1, 3, 8, 15, 16, 17, 31, 33, 63, 64, 65, 130]
