import Foundation
import Tensors

// Prints, for products of few to many rows with the matrices of an expert, a router or a head, how long they take by the library that GEMM
// picks, and how many times as long by OpenBLAS: medians, by turns, on one thread.
//
//     product-benchmark [HIDDEN WIDTH]…

/// A product of `rows` rows; of gradients, over as many.
private enum Kind: String, CaseIterable {
    case forward = "x·Wᵀ"
    case backward = "dy·W"
    case gradient = "dyᵀ·x"
}

private func seconds(_ kind: Kind, rows: Int, hidden: Int, width: Int) -> (picked: Double, openBLAS: Double) {
    let x = Tensor(rows: rows, columns: hidden, repeating: 0.5)
    let y = Tensor(rows: rows, columns: width, repeating: 0.5)
    let weights = Tensor(rows: width, columns: hidden, repeating: 0.5)
    func multiply() {
        switch kind {
        case .forward: GEMM.multiply(x, weights, transposeB: true, into: y)
        case .backward: GEMM.multiply(y, weights, into: x)
        case .gradient: GEMM.multiply(y, transposeA: true, x, into: weights)
        }
    }
    func time(_ library: MatrixLibrary, calls: Int) -> Double {
        MatrixLibrary.configure(library)
        let start = ContinuousClock.now
        for _ in 0..<calls { multiply() }
        return (ContinuousClock.now - start) / .seconds(1) / Double(calls)
    }
    // oneDNN compiles when a product is made for the first time.
    for library in MatrixLibrary.allCases { _ = time(library, calls: 1) }
    // Some 2 ms a turn, so that the clock does not count.
    let once = max(time(.automatic, calls: 2), time(.openBLAS, calls: 2))
    let calls = max(1, Int(0.002 / once))
    let turns = (0..<9).map { _ in (time(.automatic, calls: calls), time(.openBLAS, calls: calls)) }
    func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }
    return (median(turns.map(\.0)), median(turns.map(\.1)))
}

let numbers = CommandLine.arguments.dropFirst().map { Int($0) ?? 0 }
guard numbers.count % 2 == 0, numbers.allSatisfy({ $0 > 0 && $0 <= 1 << 16 }) else {
    FileHandle.standardError.write(Data("usage: product-benchmark [HIDDEN WIDTH]…, numbers up to 65536\n".utf8))
    exit(64)
}
let shapes =
    numbers.isEmpty
    ? [(128, 128), (256, 448), (1024, 512), (1024, 8), (1024, 32_000)]
    : stride(from: 0, to: numbers.count, by: 2).map { (numbers[$0], numbers[$0 + 1]) }

let rowCounts = [1, 2, 4, 8, 16, 32, 64, 256]
print("\(BLASInfo.description); µs, and how many times as long OpenBLAS takes, by rows\n")
print("| hidden, width | | " + rowCounts.map { "\($0)" }.joined(separator: " | ") + " |")
print("|" + String(repeating: "---|", count: 2 + rowCounts.count))
for (hidden, width) in shapes {
    for kind in Kind.allCases {
        let cells = rowCounts.map { rows in
            let (picked, openBLAS) = seconds(kind, rows: rows, hidden: hidden, width: width)
            return String(format: "%.1f (%.2f)", picked * 1e6, openBLAS / picked)
        }
        print("| \(hidden), \(width) | \(kind.rawValue) | " + cells.joined(separator: " | ") + " |")
    }
}
