import Foundation
import Safetensors
import Tensors
import Testing

/// The file that Python's safetensors wrote; see `Fixtures/generate.py`.
let mixedFile = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appending(path: "Fixtures/mixed.safetensors")

@Suite struct SafetensorsReaderTests {
    @Test func readsWhatPythonWrote() throws {
        let reader = try SafetensorsReader(path: mixedFile.path)
        #expect(reader.header.metadata == ["format": "pt", "made by": "Python"])
        #expect(reader.header.entries.count == 9)
        let matrix = (0..<35).map { Float($0) / 8 - 2 }
        for name in ["float32", "bfloat16", "float16"] {
            let tensor = try reader.read(name)
            #expect(tensor.rows == 5 && tensor.columns == 7)
            #expect(tensor.array == matrix, "\(name)")
        }
        let cube = try reader.read("cube")
        #expect(cube.rows == 6 && cube.columns == 4 && cube.array == (0..<24).map { Float($0) / 8 })
        #expect(try reader.read("scalar").array == [1.5])
        #expect(try reader.read("empty").count == 0)
        #expect(try reader.read("quoted \"é\" \\ name").array == [0.25, -0.5])
        #expect(reader.entry("int64")?.shape == [3])
    }

    @Test func refusesOtherElementTypesAndUnknownNames() throws {
        let reader = try SafetensorsReader(path: mixedFile.path)
        #expect(
            throws: SafetensorsError(
                file: mixedFile.path, tensor: "int64", cause: .unreadableElementType(.signed64))
        ) { try reader.read("int64") }
        #expect(throws: SafetensorsError(file: mixedFile.path, tensor: "absent", cause: .missing)) {
            try reader.read("absent")
        }
    }

    @Test(arguments: ["float32", "bfloat16", "float16"])
    func readsEveryBlock(name: String) throws {
        let reader = try SafetensorsReader(path: mixedFile.path)
        let whole = try reader.read(name)
        for firstRow in 0...5 {
            for endRow in firstRow...5 {
                for firstColumn in 0...7 {
                    for endColumn in firstColumn...7 {
                        let (rows, columns) = (firstRow..<endRow, firstColumn..<endColumn)
                        // A view, so that rows do not touch.
                        let surrounding = Tensor(rows: rows.count, columns: columns.count + 2, repeating: -1)
                        let block = surrounding.columns(1..<columns.count + 1)
                        try reader.read(name, rows: rows, columns: columns, into: block)
                        #expect(block.array == whole.rows(rows).columns(columns).array, "\(rows) × \(columns)")
                        #expect(surrounding.columns(0..<1).array.allSatisfy { $0 == -1 })
                    }
                }
            }
        }
    }

    /// Rows so long that the reader steps over what lies between blocks, and so many that it reads in several pieces.
    @Test(arguments: [(3, 9000), (40_000, 40), (1, 3_000_000)])
    func readsBlocksOfLargeTensors(rows: Int, columns: Int) throws {
        try withTemporaryDirectory { directory in
            let path = directory.appending(path: "large.safetensors").path
            let values = Tensor((0..<rows * columns).map(Float.init), rows: rows, columns: columns)
            let writer = try SafetensorsWriter(path: path, tensors: [("first", [1]), ("large", [rows, columns])])
            try writer.write("first", Tensor([7], rows: 1, columns: 1))
            try writer.write("large", values)
            try writer.finish()
            let reader = try SafetensorsReader(path: path)
            #expect(try reader.read("large").array == values.array)
            for blockColumns in [columns / 3..<columns / 3 + 5, 1..<columns, 0..<columns] {
                let blockRows = rows / 4..<rows
                let block = Tensor(rows: blockRows.count, columns: blockColumns.count)
                try reader.read("large", rows: blockRows, columns: blockColumns, into: block)
                #expect(block.array == values.rows(blockRows).columns(blockColumns).array, "\(blockColumns)")
            }
        }
    }

    @Test func convertsEveryHalfPrecisionNumber() throws {
        try withTemporaryDirectory { directory in
            let file = directory.appending(path: "all.safetensors")
            let patterns = (0...UInt16.max).flatMap { [UInt8(truncatingIfNeeded: $0), UInt8($0 >> 8)] }
            let header = """
                {"half":{"dtype":"F16","shape":[65536],"data_offsets":[0,131072]},\
                "brain":{"dtype":"BF16","shape":[65536],"data_offsets":[131072,262144]}}
                """
            try fileBytes(header: header, data: Data(patterns + patterns)).write(to: file)
            let reader = try SafetensorsReader(path: file.path)
            let (half, brain) = (try reader.read("half").array, try reader.read("brain").array)
            var wrong = [UInt16]()
            for pattern in 0...UInt16.max {
                let bits = UInt32(pattern)
                let (exponent, fraction) = (Int(bits >> 10 & 31), Double(bits & 1023))
                let magnitude =
                    switch exponent {
                    case 0: fraction * 0x1p-24
                    case 31: fraction == 0 ? Double.infinity : Double.nan
                    default: (1024 + fraction) * Double(sign: .plus, exponent: exponent - 25, significand: 1)
                    }
                let expected = Float(pattern >> 15 == 0 ? magnitude : -magnitude)
                let value = half[Int(pattern)]
                let isHalfRight = expected.isNaN ? value.isNaN : value == expected
                if !isHalfRight || brain[Int(pattern)].bitPattern != bits << 16 { wrong.append(pattern) }
            }
            #expect(wrong.isEmpty)
        }
    }
}
