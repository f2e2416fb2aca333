import Foundation
import Safetensors
import Tensors
import TestSupport
import Testing

@Suite struct SafetensorsWriterTests {
    private let tensors: [(name: String, shape: [Int])] = [
        ("vector", [3]), ("a.matrix", [3, 5]), ("empty", [0, 4]), ("quoted \"é\" \\ name", [2, 1]),
    ]
    private let values: [[Float]] = [[1.5, .infinity, -0.0], (0..<15).map { Float($0) / 3 }, [], [0.25, -0.5]]

    private func write(to path: String) throws {
        let writer = try SafetensorsWriter(path: path, tensors: tensors)
        for (tensor, values) in zip(tensors, values) {
            let rows = tensor.shape.count == 2 ? tensor.shape[0] : 1
            try writer.write(tensor.name, Tensor(values, rows: rows, columns: tensor.shape.last ?? 1))
        }
        try writer.finish()
    }

    @Test func readerGetsWhatWriterWrote() throws {
        try withTemporaryDirectory { directory in
            let path = directory.appending(path: "a.safetensors").path
            try write(to: path)
            let reader = try SafetensorsReader(path: path)
            #expect(reader.header.metadata == ["format": "pt"])
            #expect(
                reader.header.entries.filter { $0.bytes.count > 0 }.map(\.name) == [
                    "vector", "a.matrix", "quoted \"é\" \\ name",
                ])
            for (tensor, values) in zip(tensors, values) {
                #expect(reader.entry(tensor.name)?.shape == tensor.shape)
                #expect(try reader.read(tensor.name).array.map(\.bitPattern) == values.map(\.bitPattern))
            }
            // For a check with Python's package: see Fixtures/check.py.
            if let output = ProcessInfo.processInfo.environment["SAFETENSORS_TEST_OUTPUT"] { try write(to: output) }
        }
    }

    @Test func sameTensorsGiveSameBytesAndAlignedData() throws {
        try withTemporaryDirectory { directory in
            let files = ["a", "b"].map { directory.appending(path: $0) }
            for file in files { try write(to: file.path) }
            let bytes = try files.map { try Data(contentsOf: $0) }
            #expect(bytes[0] == bytes[1])
            let headerBytes = bytes[0].prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
            #expect(headerBytes % 8 == 0)
        }
    }

    /// 2 and 3 are as near to their neighbours in bf16 and fp16: the even one is taken.
    @Test func otherTypesAreRounded() throws {
        let values: [Float] = [
            1, 1 + 0x1p-8, 1 + 3 * 0x1p-8, -1 - 0x1p-8 - 0x1p-20, 1 + 0x1p-11, 1 + 3 * 0x1p-11, 1e-30, 1e30, -.infinity,
            Float(bitPattern: 0x7F80_0001), .greatestFiniteMagnitude,
        ]
        let bfloat16: [Float] = [
            1, 1, 1 + 0x1p-6, -1 - 0x1p-7, 1, 1, 0x1.44p-100, 0x1.94p99, -.infinity, .nan, .infinity,
        ]
        let float16: [Float] = [
            1, 1 + 0x1p-8, 1 + 3 * 0x1p-8, -1 - 0x1p-8, 1, 1 + 0x1p-9, 0, .infinity, -.infinity, .nan, .infinity,
        ]
        try withTemporaryDirectory { directory in
            let path = directory.appending(path: "a").path
            let writer = try SafetensorsWriter(
                path: path, tensors: [("a", [11]), ("b", [11, 1]), ("c", [11])],
                elementTypes: ["a": .bfloat16, "b": .float16])
            try writer.write("a", Tensor(values, rows: 1, columns: 11))
            try writer.write("b", Tensor(values, rows: 11, columns: 1))
            try writer.write("c", Tensor(values, rows: 1, columns: 11))
            try writer.finish()
            let reader = try SafetensorsReader(path: path)
            let expected: [(String, SafetensorsElementType, [Float])] = [
                ("a", .bfloat16, bfloat16), ("b", .float16, float16), ("c", .float32, values),
            ]
            for (name, type, expected) in expected {
                #expect(reader.entry(name)?.elementType == type)
                for (a, b) in zip(try reader.read(name).array, expected) {
                    #expect(a == b || a.isNaN && b.isNaN, "\(name): \(a) instead of \(b)")
                }
            }
        }
    }

    @Test func tensorsMayComeInParts() throws {
        try withTemporaryDirectory { directory in
            let paths = ["whole", "parts"].map { directory.appending(path: $0).path }
            let tensors: [(name: String, shape: [Int])] = [("a", [3, 2]), ("none", [0, 2]), ("b", [1])]
            let values = Tensor((0..<6).map(Float.init), rows: 3, columns: 2)
            let (none, one) = (Tensor(rows: 0, columns: 2), Tensor([7], rows: 1, columns: 1))
            let whole = try SafetensorsWriter(path: paths[0], tensors: tensors, elementTypes: ["a": .float16])
            try whole.write("a", values)
            try whole.write("none", none)
            try whole.write("b", one)
            try whole.finish()
            let parts = try SafetensorsWriter(path: paths[1], tensors: tensors, elementTypes: ["a": .float16])
            try parts.write("a", part: values.rows(0..<2))
            func error(_ tensor: String, _ cause: SafetensorsError.Cause) -> SafetensorsError {
                SafetensorsError(file: paths[1], tensor: tensor, cause: cause)
            }
            #expect(throws: error("b", .outOfOrder(expected: "a"))) { try parts.write("b", part: one) }
            #expect(throws: error("a", .shapeDiffers(expected: [3, 2], actual: [1, 2]))) {
                try parts.write("a", values.rows(2..<3))
            }
            #expect(throws: error("a", .shapeDiffers(expected: [3, 2], actual: [3, 2]))) {
                try parts.write("a", part: values)
            }
            #expect(throws: error("a", .notWritten)) { try parts.finish() }
            try parts.write("a", part: values.rows(2..<3))
            try parts.write("none", part: none)
            try parts.write("b", part: one)
            try parts.finish()
            let bytes = try paths.map { try Data(contentsOf: URL(fileURLWithPath: $0)) }
            #expect(bytes[0] == bytes[1])
        }
    }

    @Test func refusesOtherTensorsThanAnnounced() throws {
        try withTemporaryDirectory { directory in
            let path = directory.appending(path: "a.safetensors").path
            func error(_ tensor: String?, _ cause: SafetensorsError.Cause) -> SafetensorsError {
                SafetensorsError(file: path, tensor: tensor, cause: cause)
            }
            let one = Tensor([1], rows: 1, columns: 1)
            let writer = try SafetensorsWriter(path: path, tensors: [("a", [1]), ("b", [1, 2])])
            #expect(throws: error("b", .outOfOrder(expected: "a"))) { try writer.write("b", one) }
            try writer.write("a", one)
            #expect(throws: error("b", .shapeDiffers(expected: [1, 2], actual: [1, 1]))) { try writer.write("b", one) }
            #expect(throws: error("b", .notWritten)) { try writer.finish() }
            try writer.write("b", Tensor([1, 2], rows: 1, columns: 2))
            #expect(throws: error("c", .outOfOrder(expected: nil))) { try writer.write("c", one) }
            #expect(throws: error("a", .duplicate)) {
                try SafetensorsWriter(path: path, tensors: [("a", [1]), ("a", [1])])
            }
            #expect(throws: error("a", .invalidShape([Int.max, 2]))) {
                try SafetensorsWriter(path: path, tensors: [("a", [Int.max, 2])])
            }
            #expect(throws: error("a", .invalidShape([-1]))) {
                try SafetensorsWriter(path: path, tensors: [("a", [-1])])
            }
        }
    }

    @Test(.enabled(if: FullDevice.isPossible, "devices can be made by root only"))
    func reportsAFullDisk() throws {
        try withTemporaryDirectory { directory in
            let path = directory.appending(path: "full").path
            FullDevice.make(path)
            #expect(throws: SafetensorsError(file: path, cause: .system("No space left on device"))) {
                try SafetensorsWriter(path: path, tensors: [("a", [1])])
            }
            #expect(FullDevice.isThere(path))
        }
    }

    @Test func reportsAMissingDirectory() throws {
        #expect(throws: SafetensorsError(file: "/nowhere/a", cause: .system("No such file or directory"))) {
            try SafetensorsWriter(path: "/nowhere/a", tensors: [("a", [1])])
        }
    }
}
