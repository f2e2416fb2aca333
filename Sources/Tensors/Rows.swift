/// Moving, scaling and adding rows.
public enum Rows {
    /// destination[i] = source[indices[i]].
    public static func gather(_ source: Tensor, indices: [Int32], into destination: Tensor) {
        precondition(destination.hasShape(indices.count, source.columns), "shapes differ")
        checkRows(indices, below: source.rows)
        let (columns, from, to) = (source.columns, source.matrix, destination.matrix)
        indices.withUnsafeBufferPointer { indices in
            Threads.split(indices.count, cost: columns) { rows in
                for row in rows { to.row(row).update(from: from.row(Int(indices[row])), count: columns) }
            }
        }
    }

    /// y[i] = x[i] · factors[i]; y may be x.
    public static func scale(_ x: Tensor, by factors: [Float], into y: Tensor) {
        precondition(x.hasShape(of: y) && factors.count == x.rows, "shapes differ")
        let (columns, input, output) = (x.columns, x.matrix, y.matrix)
        factors.withUnsafeBufferPointer { factors in
            Threads.split(factors.count, cost: columns) { rows in
                for row in rows {
                    writeScaled(input.row(row), by: factors[row], into: output.row(row), count: columns)
                }
            }
        }
    }

    /// Adds rows[i] · scales[i] to destination[indices[i]], i ascending. Without scales the factor is 1.
    public static func scatterAdd(_ rows: Tensor, indices: [Int32], scales: [Float]?, into destination: Tensor) {
        precondition(rows.rows == indices.count && rows.columns == destination.columns, "shapes differ")
        precondition(scales == nil || scales?.count == indices.count, "one factor a row")
        checkRows(indices, below: destination.rows)
        let (from, to, count) = (rows.matrix, destination.matrix, indices.count)
        indices.withUnsafeBufferPointer { indices in
            (scales ?? []).withUnsafeBufferPointer { scales in
                // Threads share out columns, not rows, because rows may have the same destination.
                Threads.split(rows.columns, cost: count, multiple: 64) { columns in
                    for row in 0..<count {
                        let target = to.row(Int(indices[row])) + columns.lowerBound
                        let source = from.row(row) + columns.lowerBound
                        if scales.isEmpty {
                            addEntries(source, into: target, count: columns.count)
                        } else {
                            addScaled(source, by: scales[row], into: target, count: columns.count)
                        }
                    }
                }
            }
        }
    }

    /// y += x.
    public static func add(_ x: Tensor, into y: Tensor) {
        precondition(x.hasShape(of: y), "shapes differ")
        let (input, output) = (x.matrix, y.matrix)
        Threads.splitEntries(of: x, contiguous: x.isContiguous && y.isContiguous) { row, column, count in
            addEntries(input.row(row) + column, into: output.row(row) + column, count: count)
        }
    }

    /// Adds `vector`, (1, n), to each row of y, (T, n).
    public static func addVector(_ vector: Tensor, to y: Tensor) {
        precondition(vector.hasShape(1, y.columns), "shapes differ")
        let (columns, input, output) = (y.columns, vector.matrix, y.matrix)
        Threads.split(y.rows, cost: columns) { rows in
            for row in rows { addEntries(input.row(0), into: output.row(row), count: columns) }
        }
    }

    /// Adds the sum of all rows of x, (T, n), to `vector`, (1, n), row by row.
    public static func addSum(of x: Tensor, into vector: Tensor) {
        precondition(vector.hasShape(1, x.columns), "shapes differ")
        let (rows, input, output) = (x.rows, x.matrix, vector.matrix)
        // Threads share out columns, so that the sum does not depend on them.
        Threads.split(x.columns, cost: rows, multiple: 64) { columns in
            for row in 0..<rows {
                addEntries(
                    input.row(row) + columns.lowerBound, into: output.row(0) + columns.lowerBound, count: columns.count)
            }
        }
    }

    /// Σ a·b of each row.
    public static func dots(_ a: Tensor, _ b: Tensor) -> [Float] {
        precondition(a.hasShape(of: b), "shapes differ")
        let (columns, left, right) = (a.columns, a.matrix, b.matrix)
        return [Float](unsafeUninitializedCapacity: a.rows) { buffer, initialized in
            let results = buffer
            Threads.split(a.rows, cost: columns) { rows in
                for row in rows {
                    results.initializeElement(at: row, to: dotProduct(left.row(row), right.row(row), count: columns))
                }
            }
            initialized = a.rows
        }
    }

    private static func checkRows(_ indices: [Int32], below count: Int) {
        precondition(indices.allSatisfy { $0 >= 0 && $0 < count }, "row out of range")
    }
}
