import CVectors

/// A matrix of fp32 entries: `rows` × `columns`, row i beginning at `i * rowStride`. A view: copies share the memory,
/// as do `rows(_:)` and `columns(_:)` of it. Vectors are matrices of one row.
///
/// Not `Sendable`: a tensor belongs to one rank's thread.
public struct Tensor {
    let storage: Storage
    let offset: Int
    public let rows: Int
    public let columns: Int
    /// Entries between the beginnings of two neighbouring rows; `columns` when rows lie without gaps.
    public let rowStride: Int

    /// A matrix of entries that are not initialised.
    public init(rows: Int, columns: Int) {
        self.init(rows: rows, columns: columns, rowStride: columns)
    }

    /// A matrix of entries that are not initialised, for products that go down its rows: these lie `spreadStride` entries apart.
    public init(rows: Int, spreadColumns columns: Int) {
        self.init(rows: rows, columns: columns, rowStride: Self.spreadStride(columns))
    }

    /// How far rows lie apart that do not share sets of a cache: those a multiple of 256 bytes long get a gap of a cache line.
    public static func spreadStride(_ columns: Int) -> Int {
        let line = Storage.alignment / MemoryLayout<Float>.stride
        return columns % (4 * line) == 0 ? columns + line : columns
    }

    /// A matrix of `rows` × `columns` entries, all `value`.
    public init(rows: Int, columns: Int, repeating value: Float) {
        self.init(rows: rows, columns: columns)
        fill(value)
    }

    /// A matrix with a copy of `values`, which has `rows * columns` entries in row-major order.
    public init(_ values: [Float], rows: Int, columns: Int) {
        precondition(values.count == rows * columns, "shape does not fit the values")
        self.init(rows: rows, columns: columns)
        values.withUnsafeBufferPointer { source in
            if let base = source.baseAddress { pointer.update(from: base, count: source.count) }
        }
    }

    private init(rows: Int, columns: Int, rowStride: Int) {
        precondition(rows >= 0 && columns >= 0, "negative shape")
        self.init(
            storage: Storage(count: rows * rowStride), offset: 0, rows: rows, columns: columns, rowStride: rowStride)
    }

    init(storage: Storage, offset: Int, rows: Int, columns: Int, rowStride: Int) {
        self.storage = storage
        self.offset = offset
        self.rows = rows
        self.columns = columns
        self.rowStride = rowStride
    }

    /// Number of entries.
    public var count: Int { rows * columns }
    /// Whether the entries lie in memory without gaps.
    public var isContiguous: Bool { rowStride == columns || rows <= 1 }
    public var elementType: ElementType { storage.elementType }

    /// The first entry. For kernels in this module; it is valid while `storage` lives.
    var pointer: UnsafeMutablePointer<Float> { storage.base + offset }

    /// A view of some rows.
    public func rows(_ range: Range<Int>) -> Tensor {
        precondition(range.lowerBound >= 0 && range.upperBound <= rows, "rows out of range")
        return Tensor(
            storage: storage, offset: offset + range.lowerBound * rowStride,
            rows: range.count, columns: columns, rowStride: rowStride)
    }

    /// A view of some columns.
    public func columns(_ range: Range<Int>) -> Tensor {
        precondition(range.lowerBound >= 0 && range.upperBound <= columns, "columns out of range")
        return Tensor(
            storage: storage, offset: offset + range.lowerBound,
            rows: rows, columns: range.count, rowStride: rowStride)
    }

    /// The same contiguous entries in another shape.
    public func reshaped(rows: Int, columns: Int) -> Tensor {
        precondition(isContiguous && rows * columns == count, "only contiguous entries can be reshaped")
        return Tensor(storage: storage, offset: offset, rows: rows, columns: columns, rowStride: columns)
    }

    /// The entry at (row, column). For tests and small reads; kernels hoist the storage.
    public subscript(row: Int, column: Int) -> Float {
        get {
            precondition(row >= 0 && row < rows && column >= 0 && column < columns, "index out of range")
            return pointer[row * rowStride + column]
        }
        nonmutating set {
            precondition(row >= 0 && row < rows && column >= 0 && column < columns, "index out of range")
            pointer[row * rowStride + column] = newValue
        }
    }

    /// The entries of a contiguous tensor.
    public var span: Span<Float> {
        @_lifetime(borrow self) get {
            precondition(isContiguous, "a span needs contiguous entries")
            let span = unsafe Span(_unsafeElements: UnsafeBufferPointer(start: pointer, count: count))
            return _overrideLifetime(span, borrowing: self)
        }
    }

    /// The entries of a contiguous tensor, for writing.
    public var mutableSpan: MutableSpan<Float> {
        @_lifetime(borrow self) get {
            precondition(isContiguous, "a span needs contiguous entries")
            let span = unsafe MutableSpan(_unsafeElements: UnsafeMutableBufferPointer(start: pointer, count: count))
            return _overrideLifetime(span, borrowing: self)
        }
    }

    /// A copy of the entries in row-major order. For tests and small reads.
    public var array: [Float] {
        [Float](unsafeUninitializedCapacity: count) { buffer, initialized in
            for row in 0..<rows {
                (buffer.baseAddress! + row * columns).initialize(from: pointer + row * rowStride, count: columns)
            }
            initialized = count
        }
    }

    /// Sets every entry.
    public func fill(_ value: Float) {
        if isContiguous { return pointer.update(repeating: value, count: count) }
        for row in 0..<rows { (pointer + row * rowStride).update(repeating: value, count: columns) }
    }

    /// Copies the entries of a tensor of the same shape.
    public func copy(from source: Tensor) {
        precondition(rows == source.rows && columns == source.columns, "shapes differ")
        if isContiguous && source.isContiguous { return pointer.update(from: source.pointer, count: count) }
        for row in 0..<rows {
            (pointer + row * rowStride).update(from: source.pointer + row * source.rowStride, count: columns)
        }
    }

    /// As `copy`, past the caches: for blocks of many megabytes that are not used at once.
    package func stream(from source: Tensor) {
        precondition(rows == source.rows && columns == source.columns, "shapes differ")
        if isContiguous && source.isContiguous { return lanes_stream(pointer, source.pointer, count) }
        copy(from: source)
    }
}
