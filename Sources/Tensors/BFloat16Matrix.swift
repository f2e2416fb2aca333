import CVectors

/// A matrix rounded to bfloat16, without gaps.
struct BFloat16Matrix {
    let entries: UnsafePointer<UInt16>
    let stride: Int
    private let storage: Storage

    init(_ matrix: Tensor) {
        storage = Storage(count: (matrix.count + 1) / 2)
        stride = matrix.columns
        let target = UnsafeMutableRawPointer(storage.base).bindMemory(to: UInt16.self, capacity: matrix.count)
        entries = UnsafePointer(target)
        let source = matrix.matrix
        Threads.splitEntries(of: matrix, contiguous: matrix.isContiguous) { row, column, count in
            lanes_round_to_bfloat16(source.row(row) + column, target + row * matrix.columns + column, count)
        }
    }

    /// Keeps the memory until the products with it are made.
    func use<Result>(_ body: () -> Result) -> Result { withExtendedLifetime(storage, body) }
}
